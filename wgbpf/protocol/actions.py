"""What the core asks the shell to do, and what a data path reports back. Values only."""

from dataclasses import dataclass
from enum import StrEnum

from .addresses import Path
from .allowedips import Network
from .crypto import Secret
from .drops import Drop


class Role(StrEnum):
    INITIATOR = "initiator"
    RESPONDER = "responder"


class HandshakeResult(StrEnum):
    """How a handshake of ours ended."""

    COMPLETED = "completed"
    TIMED_OUT = "timed_out"
    """Initiator: no response to any of the attempts."""
    UNCONFIRMED = "unconfirmed"
    """Responder: answered, but the peer never used the key (another PSK, or our answer was lost)."""


@dataclass(frozen=True, slots=True)
class Session:
    """A keypair as a data path needs it. Times are CLOCK_BOOTTIME seconds."""

    peer: int
    local_index: int
    remote_index: int
    send_key: Secret
    receive_key: Secret
    created: float
    initiator: bool
    """True: use it for sending now. False: wait for the first authenticated packet under it."""


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """A peer as a data path needs it: where it is and which inner addresses are its own."""

    peer: int
    path: Path | None
    allowed_ips: tuple[Network, ...]
    public_key: bytes = b""
    """Who it is, for a data path that outlives the process and its peer numbers."""


# --- Actions ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send on the UDP socket. `ds` is the outer DS byte."""

    data: bytes
    path: Path
    ds: int


@dataclass(frozen=True, slots=True)
class DeliverPacket:
    """An inner packet for the interface (only when the core carries data itself)."""

    peer: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class InstallSession:
    session: Session


@dataclass(frozen=True, slots=True)
class RestrictSession:
    """Receive only from now on: our private key has changed."""

    local_index: int


@dataclass(frozen=True, slots=True)
class RetireSession:
    local_index: int


@dataclass(frozen=True, slots=True)
class Transmit:
    """Let the data path seal these inner packets under a session; an empty one is a keepalive."""

    local_index: int
    packets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SetPeer:
    entry: PeerEntry


@dataclass(frozen=True, slots=True)
class SetEndpoint:
    """The peer is reached here now (configured, or learned from a handshake message)."""

    peer: int
    path: Path | None


@dataclass(frozen=True, slots=True)
class RemovePeer:
    peer: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something ended here; `peer` where it is known."""

    reason: Drop
    received: bool
    """On its way in; False: on its way out."""
    peer: int | None = None
    packet: bytes | None = None
    """The inner packet, where its sender is owed an ICMP answer."""


@dataclass(frozen=True, slots=True)
class HandshakeEnded:
    peer: int
    role: Role
    result: HandshakeResult


Action = (
    SendDatagram
    | DeliverPacket
    | InstallSession
    | RestrictSession
    | RetireSession
    | Transmit
    | SetPeer
    | SetEndpoint
    | RemovePeer
    | Dropped
    | HandshakeEnded
)


# --- Reports ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a data path did for one peer since it knows it. Stamps are CLOCK_BOOTTIME seconds or None.

    `unanswered_*` are the first non-empty data packets in one direction since anything authenticated
    went the other way: the timers hang on them.
    """

    peer: int
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_packets: int = 0
    tx_packets: int = 0
    last_sent: float | None = None
    last_received: float | None = None
    last_data_sent: float | None = None
    last_data_received: float | None = None
    unanswered_sent: float | None = None
    unanswered_received: float | None = None
    send_counter: int = 0
    """Next counter of the session that is used for sending."""

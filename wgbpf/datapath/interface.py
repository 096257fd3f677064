"""The verbs that the controller speaks to every data path, and what a data path says back.

A data path executes; it decides no protocol question beyond what it must enforce with a dead controller:
expired keys and exhausted counters are refused, replays are refused, cryptokey routing holds, and a
session's counter never repeats. Times are CLOCK_BOOTTIME seconds.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from ..protocol.actions import PeerEntry, SendDatagram, Session, Traffic
from ..protocol.addresses import Path


class DataPathError(Exception):
    """The machine refused something; the message says what and what to do about it."""


class UnsupportedError(DataPathError):
    """This machine cannot run the data path at all (exit code 3; `auto` takes another one)."""


class Direction(StrEnum):
    RECEIVE = "receive"
    TRANSMIT = "transmit"


class DataDrop(StrEnum):
    """Why a data path refused a packet. The value is the metric label."""

    # Receiving, in the order of the checks.
    BAD_TYPE = "bad_type"
    BAD_LENGTH = "bad_length"
    UNKNOWN_INDEX = "unknown_index"
    KEY_EXPIRED = "key_expired"
    BAD_TAG = "bad_tag"
    REPLAY = "replay"
    BAD_INNER_PACKET = "bad_inner_packet"
    FORBIDDEN_SOURCE = "forbidden_source"
    BAD_ECN = "bad_ecn"
    INTERFACE_FULL = "interface_full"
    # Sending.
    NO_ROUTE = "no_route"
    NO_ENDPOINT = "no_endpoint"
    TOO_BIG = "too_big"
    SEND_FAILED = "send_failed"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """The interface to create."""

    name: str
    mtu: int
    nics: tuple[str, ...] = ()
    mode: str = "auto"
    """XDP attach mode: auto, native or generic."""
    replace: bool = False
    """Take off XDP programs of others."""
    peers: int = 0
    """How many are configured: a data path may size its tables by it."""
    guard: str = "auto"
    """Whether XDP judges handshakes before the stack: auto, on or off."""
    queues: int = 0
    """Of the tun data path; 0: as many as suit the CPUs."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Messages a second that one source may send, and how many at once after a pause."""

    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """A source is an IPv4 address or an IPv6 /64; beyond `unverified` it is asked for a cookie."""

    unverified: Budget = Budget(50, 100)
    verified: Budget = Budget(50, 100)
    load_rate: int = 500
    """Handshakes without a cookie a second, of all sources, above which everybody is asked for one."""


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What a guard judges handshakes with. The secrets are the core's, so that both judge alike."""

    public_key: bytes
    cookie_secret: bytes = field(repr=False)
    previous_cookie_secret: bytes | None = field(repr=False)
    limits: GuardLimits = GuardLimits()


@dataclass(frozen=True, slots=True)
class GuardState:
    """What `status` and the metrics tell of a guard."""

    on: bool
    text: str
    """Where it is, or why there is none."""
    under_load: bool = False
    cookies_sent: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    memory: int = 0
    """Bytes of what an attacker can fill."""


# --- Events -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HandshakeReceived:
    """A datagram that is no data message: it is the controller's."""

    datagram: bytes
    path: Path


@dataclass(frozen=True, slots=True)
class NeedsSession:
    """Inner packets for a peer without a session that may send; the controller stages them."""

    peer: int
    packets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """First authenticated packet under a responder's new key; the data path sends with it already."""

    local_index: int


@dataclass(frozen=True, slots=True)
class Roamed:
    """An authenticated packet came from elsewhere; the data path answers there already."""

    peer: int
    path: Path


@dataclass(frozen=True, slots=True)
class Active:
    """First traffic since the last `collect`: ask for it within a second. Silence means no traffic."""


@dataclass(frozen=True, slots=True)
class InterfaceGone:
    """The interface was deleted from outside."""


Event = HandshakeReceived | NeedsSession | Confirmed | Roamed | Active | InterfaceGone


# --- Counters -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since `open`. Bytes are those of whole WireGuard messages (data and keepalives)."""

    packets: Mapping[Direction, int]
    bytes: Mapping[Direction, int]
    drops: Mapping[tuple[Direction, str], int]
    """By direction and reason; every reason the data path knows is there, also at 0."""


class Guard:
    """What judges handshakes before the stack sees them. This one lets everything pass."""

    def __init__(self, why: str) -> None:
        self._why = why

    @property
    def on(self) -> bool:
        return False

    def set(self, settings: GuardSettings | None) -> None:
        """What to judge with; None: there is no private key, so let everything pass."""

    def loaded(self, until: float) -> None:
        """The controller's own queue is long: ask everybody for a cookie until then."""

    def sent(self, datagram: bytes) -> None:
        """A handshake message of ours: what names its index comes from a peer."""

    def installed(self, session: Session) -> None: ...

    def retired(self, local_index: int) -> None: ...

    def state(self) -> GuardState:
        return GuardState(False, self._why)


class DataPath(ABC):
    """One way to carry packets. Not thread-safe: one event loop owns it."""

    name: ClassVar[str]
    guard: Guard = Guard("this data path has none")
    slot_bits: int = 32
    """Low bits of a receiver index that must be unique among live sessions. Final after `open`."""
    max_mtu: ClassVar[int] = 65_535
    """Largest MTU of the interface."""

    # --- life ---

    @abstractmethod
    def open(self, spec: InterfaceSpec) -> None:
        """Create the interface, down. Raises DataPathError with nothing left behind."""

    @abstractmethod
    def close(self) -> None:
        """Remove what `open` and the other verbs created. Never raises; may be called twice."""

    @abstractmethod
    def bind(self, listen_port: int, fwmark: int) -> int:
        """(Re)open the UDP sockets; returns the port. OSError leaves the old ones in use."""

    @abstractmethod
    def attach_nic(self, nic: str, replace: bool = False) -> None:
        """Take another NIC; `replace`: also from another XDP program. Raises DataPathError."""

    @abstractmethod
    def detach_nic(self, nic: str) -> None:
        """Leave a NIC as it was found. Raises DataPathError when it is not attached."""

    @property
    @abstractmethod
    def ifindex(self) -> int:
        """Of the WireGuard interface."""

    @abstractmethod
    def set_mtu(self, mtu: int) -> None:
        """The interface has another MTU now."""

    def ready(self) -> None:  # noqa: B027  # most data paths have nothing to take over
        """The first configuration has been applied."""

    def live_indices(self) -> list[int]:
        """Of sessions taken over from an earlier process; valid after `open`."""
        return []

    def network_changed(self) -> None:  # noqa: B027  # most data paths do not care
        """Links or addresses of this host changed."""

    # --- events ---

    @abstractmethod
    def files(self) -> list[int]:
        """Descriptors to wait on for reading; changes only in `open`, `bind` and the NIC verbs."""

    @abstractmethod
    def poll(self, fd: int) -> list[Event]:
        """Handle what is readable, a bounded amount of it."""

    # --- peers and sessions ---

    @abstractmethod
    def set_peer(self, entry: PeerEntry) -> None:
        """Create a peer or replace its allowed IPs, without a gap for those that stay."""

    @abstractmethod
    def set_endpoint(self, peer: int, path: Path | None) -> None: ...

    @abstractmethod
    def remove_peer(self, peer: int) -> None: ...

    @abstractmethod
    def install(self, session: Session) -> None:
        """The peer's newest session. An initiator's is used for sending at once."""

    @abstractmethod
    def restrict(self, local_index: int) -> None:
        """Receive only under this session from now on."""

    @abstractmethod
    def retire(self, local_index: int) -> None:
        """Forget a session and its keys."""

    @abstractmethod
    def transmit(self, local_index: int, packets: Sequence[bytes]) -> None:
        """Seal and send inner packets under a session; an empty one is a keepalive."""

    @abstractmethod
    def send(self, datagram: SendDatagram) -> None:
        """Send a handshake message or cookie reply as it is."""

    @abstractmethod
    def refuse(self, packet: bytes) -> None:
        """Tell the sender of an inner packet that it goes nowhere (ICMP unreachable)."""

    # --- facts ---

    @abstractmethod
    def collect(self) -> list[Traffic]:
        """Peers whose counters or stamps changed since the last call."""

    @abstractmethod
    def counters(self) -> Counters: ...

    @abstractmethod
    def info(self) -> dict[str, str]:
        """What `status` tells about this data path: mode, what is missing and what that costs."""

"""The facts behind one scrape, taken together by the controller."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..datapath.interface import Direction, GuardState
from ..protocol.actions import HandshakeResult, Role
from ..protocol.allowedips import Network
from ..protocol.drops import Drop

_SENDING_ONLY = (Drop.NO_ROUTE, Drop.NO_ENDPOINT, Drop.STAGED_OVERFLOW, Drop.STAGED_TIMEOUT)
_SENDING_TOO = (Drop.NO_PRIVATE_KEY, Drop.QUEUE_FULL, Drop.BAD_HANDSHAKE, Drop.BAD_INNER_PACKET)

CORE_DROPS: tuple[tuple[Direction, Drop], ...] = (
    *((Direction.RECEIVE, reason) for reason in Drop if reason not in _SENDING_ONLY),
    *((Direction.TRANSMIT, reason) for reason in (*_SENDING_ONLY, *_SENDING_TOO)),
)
"""Every way in which the core refuses something: each has its series from the start."""


@dataclass(frozen=True, slots=True)
class PeerSample:
    public_key: str
    """Base64."""
    name: str
    endpoint: str
    rx_bytes: int
    tx_bytes: int
    last_handshake_ns: int
    """Unix time in ns; 0: never."""
    persistent_keepalive: int
    allowed_ips: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    interface: str
    datapath: str
    info: Mapping[str, str]
    nics: tuple[str, ...]
    public_key: str
    listen_port: int
    fwmark: int
    mtu: int
    up: bool
    packets: Mapping[Direction, int]
    bytes: Mapping[Direction, int]
    drops: Mapping[tuple[Direction, str], int]
    handshakes: Mapping[tuple[Role, HandshakeResult], int]
    cookie_replies: int
    under_load: bool
    """Of the controller or of the guard."""
    guard: GuardState
    backlog: int
    """Handshake messages that wait."""
    sessions: int
    reload_ok: bool
    reload_time: float
    """Unix time, seconds."""
    wall_ns: int
    """Unix time of the snapshot, ns."""
    peers: tuple[PeerSample, ...]

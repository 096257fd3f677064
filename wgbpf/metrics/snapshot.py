"""The facts behind one scrape, taken together by the controller."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..datapath.interface import Direction
from ..protocol.actions import HandshakeResult, Role
from ..protocol.drops import Drop

_TRANSMIT_DROPS = frozenset(
    {Drop.NO_ROUTE, Drop.NO_ENDPOINT, Drop.STAGED_OVERFLOW, Drop.STAGED_TIMEOUT, Drop.NO_PRIVATE_KEY}
)


def core_drop_direction(reason: Drop) -> Direction:
    """What the core refuses was on its way out (staged packets) or in (everything else)."""
    return Direction.TRANSMIT if reason in _TRANSMIT_DROPS else Direction.RECEIVE


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
    allowed_ips: tuple[str, ...]


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
    backlog: int
    """Handshake messages that wait."""
    sessions: int
    reload_ok: bool
    reload_time: float
    """Unix time, seconds."""
    wall_ns: int
    """Unix time of the snapshot, ns."""
    peers: tuple[PeerSample, ...]

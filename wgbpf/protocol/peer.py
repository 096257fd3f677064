"""State of one peer: identity, endpoint, keypairs, staged packets, counters. No decisions live here."""

from collections import deque
from collections.abc import Callable, Iterable

from .actions import PeerEntry, Session, Traffic
from .addresses import Endpoint, Path
from .allowedips import Network
from .constants import MAX_STAGED_PACKETS
from .cookies import CookieMaker
from .crypto import ZERO_KEY, PrivateKey, Secret
from .keypairs import Keypair, Keypairs
from .noise import PendingInitiation
from .tai64n import next_after, stamp
from .timers import Timers


class Peer:
    """A configured peer. `number` is its small integer name in actions and data paths."""

    def __init__(self, number: int, public_key: bytes) -> None:
        self.number = number
        self.public_key = public_key
        self.preshared_key = Secret(ZERO_KEY)
        self.path: Path | None = None
        self.configured_endpoint: Endpoint | None = None
        self.cookies = CookieMaker(public_key)
        self.keypairs = Keypairs()
        self.timers = Timers()
        self.pending: PendingInitiation | None = None
        self.staged: deque[bytes] = deque()
        self.handshake_rx_bytes = 0
        self.handshake_tx_bytes = 0
        self.traffic = Traffic(number)
        self.last_handshake_ns = 0
        self.greatest_timestamp: bytes | None = None
        self.last_initiation_consumed: float | None = None
        self._last_stamp_sent: bytes | None = None
        self._static_static: bytes | None = None

    def __repr__(self) -> str:
        return f"Peer({self.number}, {self.public_key.hex()[:8]})"

    @property
    def rx_bytes(self) -> int:
        """Whole WireGuard messages received: handshakes and data."""
        return self.handshake_rx_bytes + self.traffic.rx_bytes

    @property
    def tx_bytes(self) -> int:
        return self.handshake_tx_bytes + self.traffic.tx_bytes

    def static_static(self, me: PrivateKey) -> bytes:
        """DH of both static keys, kept. Raises OpenError for a low-order peer key."""
        if self._static_static is None:
            self._static_static = me.dh(self.public_key)
        return self._static_static

    def forget_static_static(self) -> None:
        self._static_static = None

    def next_timestamp_ns(self, wall_ns: int) -> int:
        """The time to stamp an initiation with: the wall clock's, or the next step after the last one."""
        if self._last_stamp_sent is not None:
            wall_ns = max(wall_ns, next_after(self._last_stamp_sent))
        self._last_stamp_sent = stamp(wall_ns)
        return wall_ns

    def stage(self, packet: bytes) -> int:
        """Keep a packet until there is a key; returns how many old ones had to go."""
        dropped = 0
        while len(self.staged) >= MAX_STAGED_PACKETS:
            self.staged.popleft()
            dropped += 1
        self.staged.append(packet)
        return dropped

    def take_staged(self) -> list[bytes]:
        packets = list(self.staged)
        self.staged.clear()
        return packets

    def forget_pending(self) -> PendingInitiation | None:
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.wipe()
        return pending

    def session(self, keypair: Keypair) -> Session:
        return Session(
            self.number,
            keypair.local_index,
            keypair.remote_index,
            keypair.send_key,
            keypair.receive_key,
            keypair.created,
            keypair.initiator,
        )

    def entry(self, allowed_ips: Iterable[Network]) -> PeerEntry:
        return PeerEntry(self.number, self.path, tuple(allowed_ips), self.public_key)


Jitter = Callable[[], float]

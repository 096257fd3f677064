"""What the parts of a device share: identity, peers, indices, the actions gathered so far."""

from collections.abc import Callable

from .actions import Action, Dropped, HandshakeEnded, HandshakeResult, RetireSession, Role, SetEndpoint
from .addresses import Path
from .agenda import Agenda
from .allowedips import AllowedIps
from .constants import DEFAULT_MTU, TIMER_JITTER
from .cookies import CookieChecker
from .crypto import PrivateKey, Secret
from .drops import Drop
from .indices import IndexAllocator
from .keypairs import Keypair
from .peer import Peer
from .ratelimiter import RateLimiter
from .tai64n import stamp


class State:
    """One device. `offload`: a data path carries data, the core only tells it what to do."""

    def __init__(
        self,
        rand: Callable[[int], bytes],
        indices: IndexAllocator | None,
        offload: bool,
        limiter: RateLimiter | None = None,
    ) -> None:
        self.rand = rand
        # Both are false while they are empty.
        self.indices = IndexAllocator(rand) if indices is None else indices
        self.offload = offload
        self.private_secret: Secret | None = None
        self.private_key: PrivateKey | None = None
        self.checker: CookieChecker | None = None
        self.listen_port = 0
        self.fwmark = 0
        self.mtu = DEFAULT_MTU
        self.up = True
        self.wall_offset_ns = 0
        self.timestamp_floor_ns = 0
        self.greatest_timestamp_ns = 0
        self.peers: dict[int, Peer] = {}
        self.by_key: dict[bytes, Peer] = {}
        self.handshakes: dict[int, Peer] = {}
        self.sessions: dict[int, tuple[Peer, Keypair]] = {}
        self.allowed_ips = AllowedIps()
        self.limiter = RateLimiter() if limiter is None else limiter
        self.agenda = Agenda()
        self.actions: list[Action] = []
        self._next_number = 0
        self._free_numbers: list[int] = []

    # --- output ---

    def emit(self, action: Action) -> None:
        self.actions.append(action)

    def drop(self, reason: Drop, peer: Peer | None = None, packet: bytes | None = None) -> None:
        """Something that was to be sent; what is received is refused by raising Rejected."""
        self.emit(Dropped(reason, False, None if peer is None else peer.number, packet))

    def take_actions(self) -> list[Action]:
        actions, self.actions = self.actions, []
        return actions

    def touch(self, peer: Peer) -> None:
        """The peer's timers may have moved."""
        if peer.number in self.peers:
            self.agenda.set(peer.number, peer.timers.next_deadline() if self.up else None)

    def clear_source(self, peer: Peer) -> None:
        """Let routing choose our source address towards the peer again."""
        if peer.path is not None and peer.path.local is not None:
            self.set_path(peer, Path(peer.path.remote))

    def set_path(self, peer: Peer, path: Path) -> None:
        """The peer is reached there now; a data path that carries data is told."""
        if peer.path != path:
            peer.path = path
            if self.offload:
                self.emit(SetEndpoint(peer.number, path))

    # --- helpers ---

    def jitter(self) -> float:
        """Uniform in [0, 1/3) s: two ends in step would answer past each other for ever."""
        return int.from_bytes(self.rand(4), "little") / 2**32 * TIMER_JITTER

    def wall_ns(self, now: float) -> int:
        """Unix time in ns."""
        return self.wall_offset_ns + int(now * 1_000_000_000)

    def timestamp(self, peer: Peer, now: float) -> bytes:
        """For an initiation: greater than any sent before, also where the wall clock was set back."""
        ns = peer.next_timestamp_ns(max(self.wall_ns(now), self.timestamp_floor_ns))
        self.greatest_timestamp_ns = max(self.greatest_timestamp_ns, ns)
        return stamp(ns)

    def new_number(self) -> int:
        """The smallest free peer number: data paths use it as an array position."""
        if self._free_numbers:
            return self._free_numbers.pop()
        self._next_number += 1
        return self._next_number - 1

    def free_number(self, number: int) -> None:
        self._free_numbers.append(number)

    # --- sessions ---

    def add_session(self, peer: Peer, keypair: Keypair) -> None:
        """Enter a new keypair into its slot; the ones it pushes out are retired."""
        if not keypair.initiator and peer.keypairs.next is not None:
            self.emit(HandshakeEnded(peer.number, Role.RESPONDER, HandshakeResult.UNCONFIRMED))
        self.sessions[keypair.local_index] = (peer, keypair)
        self.retire(peer.keypairs.add(keypair))

    def retire(self, keypairs: list[Keypair]) -> None:
        for keypair in keypairs:
            del self.sessions[keypair.local_index]
            self.indices.release(keypair.local_index)
            self.emit(RetireSession(keypair.local_index))
            keypair.wipe()

    def forget_handshake(self, peer: Peer) -> None:
        """Give up the initiation that waits for its response, and its index."""
        pending = peer.forget_pending()
        if pending is not None:
            del self.handshakes[pending.index]
            self.indices.release(pending.index)

    def wipe_keys(self, peer: Peer) -> None:
        self.forget_handshake(peer)
        self.retire(peer.keypairs.clear())

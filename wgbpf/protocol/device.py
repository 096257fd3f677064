"""The WireGuard device without I/O: what goes in, what comes out.

It is driven by the user (`configure`), the network (`receive`, `handle_handshakes`), the interface
(`send`), a data path that carries data by itself (`stage`, `confirmed`, `roamed`, `report`) and the
passing of time (`tick`). Every verb takes `now`, CLOCK_BOOTTIME seconds, and returns actions in the order
in which they must be carried out. The same inputs give the same bytes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import inner
from .actions import Action, Dropped, HandshakeEnded, HandshakeResult, Role, Traffic
from .addresses import Endpoint, Path
from .allowedips import Network
from .changes import DeviceChange
from .configuring import Configurator
from .constants import MAX_TIMER_ATTEMPTS
from .crypto import Buffer, Secret
from .drops import Drop, Rejected
from .indices import IndexAllocator
from .messages import Data, parse
from .peer import Peer
from .ratelimiter import RateLimiter
from .receiving import PeerRejected, Receiver
from .sending import Sender
from .state import State


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer as users see it."""

    number: int
    public_key: bytes
    preshared_key: Secret
    endpoint: Endpoint | None
    last_handshake_ns: int
    """Unix time in ns; 0: never."""
    rx_bytes: int
    tx_bytes: int
    persistent_keepalive: int
    allowed_ips: tuple[Network, ...]


class Device:
    """`rand(n)` gives n unpredictable bytes. `offload`: see the module `actions`, Transmit."""

    def __init__(
        self,
        rand: Callable[[int], bytes],
        indices: IndexAllocator | None = None,
        offload: bool = False,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._state = State(rand, indices, offload, limiter)
        self._sender = Sender(self._state)
        self._receiver = Receiver(self._state, self._sender)
        self._configurator = Configurator(self._state, self._sender)

    # --- configuration ---

    def set_wall_clock(self, offset_ns: int) -> None:
        """Unix time in ns at `now` == 0. Initiations are stamped with it."""
        self._state.wall_offset_ns = offset_ns

    def set_timestamp_floor(self, ns: int) -> None:
        """Unix time in ns below which no initiation is stamped: what an earlier process may have sent."""
        self._state.timestamp_floor_ns = ns

    @property
    def greatest_timestamp_ns(self) -> int:
        """Unix time in ns of the latest stamp sent; 0: none yet."""
        return self._state.greatest_timestamp_ns

    def set_mtu(self, mtu: int) -> None:
        """MTU of the interface, up to which packets are padded."""
        self._state.mtu = mtu

    def configure(self, change: DeviceChange, now: float) -> list[Action]:
        """Apply a change whole. Raises TooManyPeers with nothing applied."""
        self._configurator.apply(change, now)
        return self._state.take_actions()

    def set_up(self, up: bool, now: float) -> list[Action]:
        """Interface up or down. Down wipes keys and stops all timers (rule m)."""
        state = self._state
        if up == state.up:
            return []
        state.up = up
        for peer in state.peers.values():
            if up:
                if peer.timers.persistent_interval:
                    self._sender.keepalive(peer, now)
                self._sender.flush(peer, now)
            else:
                self._wipe(peer)
            state.touch(peer)
        return state.take_actions()

    def suspended(self) -> list[Action]:
        """The machine was asleep: no key survives that (rule m)."""
        for peer in self._state.peers.values():
            self._wipe(peer)
            self._state.touch(peer)
        return self._state.take_actions()

    # --- the network ---

    def receive(self, datagram: Buffer, path: Path, now: float, ds: int = 0) -> list[Action]:
        """A datagram from the UDP socket; `ds` is its outer DS byte. Handshakes are queued."""
        try:
            message = parse(datagram)
            if not self._state.up:
                raise Rejected(Drop.INTERFACE_DOWN)
            if isinstance(message, Data):
                self._receiver.data(message, path, ds, now, len(datagram))
            else:
                self._receiver.enqueue(message, path, now)
        except Rejected as why:
            self._refuse(why)
        return self._state.take_actions()

    @property
    def backlog(self) -> int:
        """Handshake messages that wait for `handle_handshakes`."""
        return self._receiver.backlog

    def under_load(self, now: float) -> bool:
        return self._receiver.under_load(now)

    def handle_handshakes(self, now: float, limit: int = 16) -> list[Action]:
        """Judge up to `limit` queued handshake messages."""
        for _ in range(min(limit, self._receiver.backlog)):
            try:
                self._receiver.handle_next(now)
            except Rejected as why:
                self._refuse(why)
        return self._state.take_actions()

    def _refuse(self, why: Rejected) -> None:
        peer = why.peer.number if isinstance(why, PeerRejected) else None
        self._state.emit(Dropped(why.reason, True, peer))

    # --- the interface ---

    def send(self, packet: bytes, now: float) -> list[Action]:
        """An inner packet to send: cryptokey routing, then seal or stage."""
        state = self._state
        try:
            number = state.allowed_ips.owner(inner.destination(packet))
        except Rejected as why:
            state.drop(why.reason)
            return state.take_actions()
        if number is None:
            state.drop(Drop.NO_ROUTE, packet=packet)
            return state.take_actions()
        return self.stage(number, [packet], now)

    # --- a data path that carries data ---

    def stage(self, number: int, packets: Iterable[bytes], now: float) -> list[Action]:
        """Packets of a peer for which the data path has no session."""
        peer = self._state.peers.get(number)
        if peer is not None:
            self._sender.stage(peer, packets, now)
        return self._state.take_actions()

    def confirmed(self, local_index: int, now: float) -> list[Action]:
        """The data path saw the first authenticated packet under a responder's new key."""
        entry = self._state.sessions.get(local_index)
        if entry is not None:
            peer, keypair = entry
            peer.timers.authenticated_received(now)
            self._receiver.confirm(peer, keypair, now)
            self._state.touch(peer)
        return self._state.take_actions()

    def roamed(self, number: int, path: Path) -> list[Action]:
        """The data path moved a peer's endpoint by itself."""
        peer = self._state.peers.get(number)
        if peer is not None:
            peer.path = path
        return self._state.take_actions()

    def report(self, reports: Iterable[Traffic], now: float) -> list[Action]:
        """Counters and stamps of peers; rekeys what they show to be due."""
        state = self._state
        for traffic in reports:
            peer = state.peers.get(traffic.peer)
            if peer is None:
                continue
            peer.traffic = traffic
            peer.timers.traffic(traffic, state.jitter())
            self._rekey_after(peer, traffic, now)
            state.touch(peer)
        return state.take_actions()

    def _rekey_after(self, peer: Peer, traffic: Traffic, now: float) -> None:
        keypair = peer.keypairs.current
        if keypair is None:
            return
        keypair.counter = max(keypair.counter, traffic.send_counter)
        sent, received = traffic.last_sent, traffic.last_received
        if sent is not None and keypair.rekey_after_send(sent):
            self._sender.rekey_if_due_after_send(peer, now)
        if received is not None and keypair.rekey_after_receive(received):
            self._sender.rekey_if_due_after_receive(peer, now)

    def paths(self) -> dict[int, Path]:
        """Peers that are answered from a fixed source address, and that path."""
        peers = self._state.peers.values()
        return {p.number: p.path for p in peers if p.path is not None and p.path.local is not None}

    def forget_sources(self, numbers: Iterable[int]) -> list[Action]:
        """Addresses or routes changed: let routing choose the source towards these peers again."""
        for number in numbers:
            peer = self._state.peers.get(number)
            if peer is not None:
                self._state.clear_source(peer)
        return self._state.take_actions()

    # --- time ---

    def next_deadline(self) -> float | None:
        """When `tick` must be called at the latest; None: nothing is pending."""
        return self._state.agenda.next()

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        for number in self._state.agenda.pop_due(now):
            peer = self._state.peers[number]
            self._fire(peer, now)
            self._state.touch(peer)
        return self._state.take_actions()

    def _fire(self, peer: Peer, now: float) -> None:
        timers = peer.timers
        if _is_due(timers.retransmit_due(), now):
            self._retransmit(peer, now)
        if _is_due(timers.keepalive_due(), now):
            another = timers.data_came_while_keepalive_pending()
            timers.cancel_keepalive()
            self._sender.keepalive(peer, now)
            if another:
                timers.rearm_keepalive(now)
        if _is_due(timers.new_handshake_due(), now):
            timers.cancel_new_handshake()
            self._state.clear_source(peer)
            self._sender.initiate(peer, now)
        if _is_due(timers.zero_keys_due(), now):
            timers.zero_keys_fired()
            self._state.wipe_keys(peer)
        if _is_due(timers.persistent_due(), now):
            timers.persistent_enabled(timers.persistent_interval, now)
            self._sender.keepalive(peer, now)

    def _retransmit(self, peer: Peer, now: float) -> None:
        state, timers = self._state, peer.timers
        if timers.attempts > MAX_TIMER_ATTEMPTS:
            timers.cancel_retransmit()
            timers.cancel_keepalive()
            timers.arm_zero_keys(now)
            for _ in peer.take_staged():
                state.drop(Drop.STAGED_TIMEOUT, peer)
            state.emit(HandshakeEnded(peer.number, Role.INITIATOR, HandshakeResult.TIMED_OUT))
            return
        if not timers.may_initiate(now):
            timers.postpone_retransmit()
            return
        timers.attempts += 1
        timers.cancel_retransmit()
        state.clear_source(peer)
        self._sender.initiate(peer, now, retry=True)

    def _wipe(self, peer: Peer) -> None:
        peer.timers.stop()
        for _ in peer.take_staged():
            self._state.drop(Drop.STAGED_TIMEOUT, peer)
        self._state.wipe_keys(peer)

    # --- what users ask for ---

    @property
    def private_key(self) -> Secret | None:
        return self._state.private_secret

    @property
    def public_key(self) -> bytes | None:
        key = self._state.private_key
        return None if key is None else key.public

    @property
    def listen_port(self) -> int:
        return self._state.listen_port

    @property
    def fwmark(self) -> int:
        return self._state.fwmark

    @property
    def mtu(self) -> int:
        return self._state.mtu

    @property
    def is_up(self) -> bool:
        return self._state.up

    @property
    def session_count(self) -> int:
        return len(self._state.sessions)

    def cookie_secrets(self, now: float) -> tuple[Secret, Secret | None] | None:
        """Current and previous cookie secret, for a guard in a data path; None without a private key."""
        checker = self._state.checker
        return None if checker is None else checker.secrets(now)

    def cookie_secrets_due(self) -> float | None:
        """When `cookie_secrets` will tell others; None: there are none, or nobody asked yet."""
        checker = self._state.checker
        return None if checker is None else checker.next_change

    def public_key_of(self, number: int) -> bytes | None:
        peer = self._state.peers.get(number)
        return None if peer is None else peer.public_key

    def peers(self) -> list[PeerView]:
        """All peers, in the order in which they were added."""
        return [
            PeerView(
                p.number,
                p.public_key,
                p.preshared_key,
                None if p.path is None else p.path.remote,
                p.last_handshake_ns,
                p.rx_bytes,
                p.tx_bytes,
                p.timers.persistent_interval,
                tuple(self._state.allowed_ips.of(p.number)),
            )
            for p in self._state.peers.values()
        ]


def _is_due(due: float | None, now: float) -> bool:
    return due is not None and due <= now

"""The receiving side: handshake messages through the queue and the cookie gate, and data messages.

Order (section 5.3 and the paper's 6.6): length and type, mac1, queue; under load mac2, then the limiter,
else a cookie reply; Diffie-Hellman; peer; timestamp.
"""

from collections import OrderedDict, deque
from dataclasses import replace

from . import inner
from .actions import (
    DeliverPacket,
    HandshakeEnded,
    HandshakeResult,
    InstallSession,
    Role,
    SendDatagram,
)
from .addresses import Path
from .constants import (
    HANDSHAKE_QUEUE_SIZE,
    HANDSHAKE_QUEUE_UNDER_LOAD,
    INITIATION_SPACING,
    MAC_SIZE,
    REKEY_TIMEOUT,
    UNDER_LOAD_STICKY,
)
from .crypto import PrivateKey
from .drops import Drop, Rejected
from .indices import IndicesExhausted
from .keypairs import Keypair
from .messages import CookieReply, Data, Initiation, Response
from .noise import consume_initiation, consume_response, create_response
from .peer import Peer
from .sending import Sender
from .state import State

_MAX_REMEMBERED_MACS = 8192

_Handshake = Initiation | Response | CookieReply


class Receiver:
    """Consumes messages; every refusal is a Rejected that `Device` turns into a Dropped."""

    def __init__(self, state: State, sender: Sender) -> None:
        self._state = state
        self._sender = sender
        self._queue: deque[tuple[_Handshake, Path]] = deque()
        self._loaded_until: float | None = None
        self._seen_mac1s: OrderedDict[bytes, float] = OrderedDict()

    # --- the handshake queue ---

    @property
    def backlog(self) -> int:
        return len(self._queue)

    def under_load(self, now: float) -> bool:
        """Many handshakes wait, or did less than a second ago."""
        if len(self._queue) >= HANDSHAKE_QUEUE_UNDER_LOAD:
            self._loaded_until = now + UNDER_LOAD_STICKY
        return self._loaded_until is not None and now < self._loaded_until

    def enqueue(self, message: _Handshake, path: Path, now: float) -> None:
        """Queue a handshake message that costs nothing to judge wrong: mac1 good and not a repetition."""
        if not isinstance(message, CookieReply):
            checker = self._state.checker
            if checker is None:
                raise Rejected(Drop.NO_PRIVATE_KEY)
            if not checker.check_mac1(message.raw):
                raise Rejected(Drop.BAD_MAC1)
            self._refuse_repetition(message.raw, now)
        if len(self._queue) >= HANDSHAKE_QUEUE_SIZE:
            raise Rejected(Drop.QUEUE_FULL)
        self._queue.append((message, path))
        self.under_load(now)

    def _refuse_repetition(self, raw: bytes, now: float) -> None:
        """A recorded message, replayed, must not put us under load: a sender never repeats a mac1.

        The same message may come back with mac2 added, so both MACs tell it apart.
        """
        macs = raw[-2 * MAC_SIZE :]
        seen = self._seen_mac1s
        while seen:
            oldest = next(iter(seen.items()))
            if len(seen) < _MAX_REMEMBERED_MACS and 0 <= now - oldest[1] < REKEY_TIMEOUT:
                break
            seen.popitem(last=False)
        if macs in seen:
            raise Rejected(Drop.DUPLICATE)
        seen[macs] = now

    def handle_next(self, now: float) -> None:
        """Judge the oldest queued message."""
        loaded = self.under_load(now)
        message, path = self._queue.popleft()
        if isinstance(message, CookieReply):
            self._cookie_reply(message, now)
            return
        if loaded and not self._has_cookie(message, path, now):
            return
        if isinstance(message, Initiation):
            self._initiation(message, path, now)
        else:
            self._response(message, path, now)

    def _has_cookie(self, message: Initiation | Response, path: Path, now: float) -> bool:
        """Under load: valid mac2 and within the rate, or a cookie reply and nothing else."""
        checker = self._state.checker
        if checker is None:
            raise Rejected(Drop.NO_PRIVATE_KEY)
        source = path.remote.raw()
        if checker.check_mac2(message.raw, source, now):
            if not self._state.limiter.allow(path.remote.address.packed, now):
                raise Rejected(Drop.RATE_LIMITED)
            return True
        reply = checker.reply(message.raw, message.sender, source, now)
        self._state.emit(SendDatagram(reply.pack(), path, 0))
        raise Rejected(Drop.COOKIE_REQUIRED)

    # --- the three handshake messages ---

    def _initiation(self, message: Initiation, path: Path, now: float) -> None:
        state = self._state
        if state.private_key is None:
            raise Rejected(Drop.NO_PRIVATE_KEY)
        consumed = consume_initiation(state.private_key, message)
        peer = state.by_key.get(consumed.peer_static)
        if peer is None:
            raise Rejected(Drop.UNKNOWN_PEER)
        if peer.greatest_timestamp is not None and consumed.timestamp <= peer.greatest_timestamp:
            raise Rejected(Drop.STALE_TIMESTAMP)
        last = peer.last_initiation_consumed
        if last is not None and 0 <= now - last < INITIATION_SPACING:
            raise Rejected(Drop.INITIATION_FLOOD)
        try:
            index = state.indices.allocate()
        except IndicesExhausted as error:
            raise Rejected(Drop.QUEUE_FULL) from error
        try:
            response, keys = create_response(consumed, peer.preshared_key, index, PrivateKey(state.rand(32)))
        except Rejected:
            state.indices.release(index)
            raise
        peer.greatest_timestamp = consumed.timestamp
        peer.last_initiation_consumed = now
        peer.handshake_rx_bytes += len(message.raw)
        self._state.set_path(peer, path)
        peer.timers.authenticated_received(now)
        # One handshake at a time: answering overwrites our own pending initiation.
        state.forget_handshake(peer)
        keypair = Keypair(keys, now)
        state.add_session(peer, keypair)
        state.emit(InstallSession(peer.session(keypair)))
        peer.timers.session_derived(now)
        self._sender.send_handshake(peer, response.pack(), now)
        peer.timers.response_sent(now)
        state.touch(peer)

    def _response(self, message: Response, path: Path, now: float) -> None:
        state = self._state
        peer = state.handshakes.get(message.receiver)
        if peer is None or peer.pending is None or state.private_key is None:
            raise Rejected(Drop.UNKNOWN_INDEX)
        try:
            keys = consume_response(state.private_key, peer.pending, peer.preshared_key, message)
        except Rejected as why:
            raise PeerRejected(why.reason, peer) from why
        # The index lives on in the keypair.
        peer.forget_pending()
        del state.handshakes[message.receiver]
        peer.handshake_rx_bytes += len(message.raw)
        self._state.set_path(peer, path)
        peer.timers.authenticated_received(now)
        peer.timers.handshake_complete()
        keypair = Keypair(keys, now)
        state.add_session(peer, keypair)
        state.emit(InstallSession(peer.session(keypair)))
        peer.timers.session_derived(now)
        peer.last_handshake_ns = state.wall_ns(now)
        state.emit(HandshakeEnded(peer.number, Role.INITIATOR, HandshakeResult.COMPLETED))
        # Rule (g): the responder may not send before it hears from us under the new key.
        self._sender.keepalive(peer, now)
        state.touch(peer)

    def _cookie_reply(self, message: CookieReply, now: float) -> None:
        state = self._state
        peer = state.handshakes.get(message.receiver)
        if peer is None and message.receiver in state.sessions:
            peer = state.sessions[message.receiver][0]
        if peer is None:
            raise Rejected(Drop.UNKNOWN_INDEX)
        peer.cookies.consume(message, now)

    # --- data ---

    def data(self, message: Data, path: Path, outer_ds: int, now: float, size: int) -> None:
        """Rule (h). `size` is that of the whole message."""
        state = self._state
        peer, keypair = state.sessions.get(message.receiver, (None, None))
        if peer is None or keypair is None:
            raise Rejected(Drop.UNKNOWN_INDEX)
        try:
            plain = keypair.open(message.counter, message.sealed, now)
            self._state.set_path(peer, path)
            self.confirm(peer, keypair, now)
            self.data_arrived(peer, now, empty=not plain)
            packet = self._checked(peer, plain, outer_ds) if plain else b""
        except Rejected as why:
            raise PeerRejected(why.reason, peer) from why
        traffic = peer.traffic
        peer.traffic = replace(traffic, rx_bytes=traffic.rx_bytes + size, rx_packets=traffic.rx_packets + 1)
        if packet:
            state.emit(DeliverPacket(peer.number, packet))

    def _checked(self, peer: Peer, plain: bytes, outer_ds: int) -> bytes:
        packet = inner.trim(plain)
        if self._state.allowed_ips.owner(inner.source(packet)) != peer.number:
            raise Rejected(Drop.FORBIDDEN_SOURCE)
        marked = inner.decapsulate_ecn(packet, outer_ds)
        if marked is None:
            raise Rejected(Drop.BAD_ECN)
        return marked

    def data_arrived(self, peer: Peer, now: float, empty: bool) -> None:
        if not empty:
            peer.timers.data_received(now)
        peer.timers.authenticated_received(now)
        self._sender.rekey_if_due_after_receive(peer, now)
        self._state.touch(peer)

    def confirm(self, peer: Peer, keypair: Keypair, now: float) -> None:
        """Rule (f): the first packet under the responder's new key lets it send with it."""
        fallen = peer.keypairs.confirm(keypair)
        if fallen is None:
            return
        self._state.retire(fallen)
        peer.timers.handshake_complete()
        peer.last_handshake_ns = self._state.wall_ns(now)
        self._state.emit(HandshakeEnded(peer.number, Role.RESPONDER, HandshakeResult.COMPLETED))
        self._sender.flush(peer, now)


class PeerRejected(Rejected):
    """A refusal that can be charged to a peer."""

    def __init__(self, reason: Drop, peer: Peer) -> None:
        super().__init__(reason)
        self.peer = peer

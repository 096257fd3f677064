"""The sending side of a peer: staged packets, keepalives, initiations (sections 6.1, 6.2, 6.4, 6.5)."""

from collections.abc import Iterable
from dataclasses import replace

from .actions import SendDatagram, Transmit
from .constants import HANDSHAKE_DS_BYTE
from .crypto import OpenError, PrivateKey
from .drops import Drop
from .indices import IndicesExhausted
from .inner import encapsulated_ds
from .keypairs import Keypair
from .noise import create_initiation
from .peer import Peer
from .state import State


class Sender:
    """Everything that makes a datagram towards a peer, except answers to its messages."""

    def __init__(self, state: State) -> None:
        self._state = state

    def stage(self, peer: Peer, packets: Iterable[bytes], now: float) -> None:
        """Packets to send as soon as there is a key, which may be at once."""
        state = self._state
        for packet in packets:
            if peer.path is None:
                state.drop(Drop.NO_ENDPOINT, peer, packet)
                continue
            for _ in range(peer.stage(packet)):
                state.drop(Drop.STAGED_OVERFLOW, peer)
        if peer.staged:
            self.flush(peer, now)

    def flush(self, peer: Peer, now: float) -> None:
        """Send what is staged under the current key; without a usable one start a handshake (rule d)."""
        keypair = peer.keypairs.current
        if not peer.staged or not self._state.up:
            return
        if keypair is None or not keypair.may_send(now):
            self.initiate(peer, now)
            return
        self._send_under(peer, keypair, peer.take_staged(), now)

    def keepalive(self, peer: Peer, now: float) -> None:
        """Staged packets if there are any, else an empty one (section 6.5)."""
        if peer.path is None:
            return
        if not peer.staged:
            peer.staged.append(b"")
        self.flush(peer, now)
        if peer.staged and not peer.staged[0]:
            # No key yet: the handshake that was started confirms itself with a keepalive.
            peer.staged.popleft()

    def initiate(self, peer: Peer, now: float, retry: bool = False) -> None:
        """Send an initiation unless one went out less than REKEY_TIMEOUT ago (rule a)."""
        state = self._state
        if not retry:
            peer.timers.attempts = 0
        me = state.private_key
        if not state.up or peer.path is None or not peer.timers.may_initiate(now):
            return
        if me is None:
            state.drop(Drop.NO_PRIVATE_KEY, peer)
            return
        state.forget_handshake(peer)
        try:
            index = state.indices.allocate()
        except IndicesExhausted:
            state.drop(Drop.QUEUE_FULL, peer)
            return
        try:
            message, pending = create_initiation(
                me,
                peer.public_key,
                peer.static_static(me),
                index,
                PrivateKey(state.rand(32)),
                state.timestamp(peer, now),
            )
        except OpenError:
            state.indices.release(index)
            state.drop(Drop.BAD_HANDSHAKE, peer)
            return
        peer.pending = pending
        state.handshakes[index] = peer
        self.send_handshake(peer, message.pack(), now)
        peer.timers.initiation_sent(now, state.jitter())
        state.touch(peer)

    def send_handshake(self, peer: Peer, body: bytes, now: float) -> None:
        """Add mac1 and mac2 to a handshake message and send it."""
        assert peer.path is not None
        data = peer.cookies.stamp(body, now)
        peer.handshake_tx_bytes += len(data)
        self._state.emit(SendDatagram(data, peer.path, HANDSHAKE_DS_BYTE))

    def rekey_if_due_after_send(self, peer: Peer, now: float) -> None:
        """Rule (b)."""
        keypair = peer.keypairs.current
        if keypair is not None and keypair.rekey_after_send(now):
            self.initiate(peer, now)

    def rekey_if_due_after_receive(self, peer: Peer, now: float) -> None:
        """Rule (c)."""
        keypair = peer.keypairs.current
        if keypair is not None and keypair.rekey_after_receive(now):
            keypair.rekey_on_receive_done = True
            self.initiate(peer, now)

    def _send_under(self, peer: Peer, keypair: Keypair, packets: list[bytes], now: float) -> None:
        state = self._state
        if state.offload:
            state.emit(Transmit(keypair.local_index, tuple(packets)))
        else:
            self._seal_here(peer, keypair, packets)
        if any(packets):
            peer.timers.data_sent(now, state.jitter())
        peer.timers.authenticated_sent(now)
        self.rekey_if_due_after_send(peer, now)
        state.touch(peer)

    def _seal_here(self, peer: Peer, keypair: Keypair, packets: list[bytes]) -> None:
        assert peer.path is not None
        size = 0
        for packet in packets:
            data = keypair.seal(packet, self._state.mtu)
            size += len(data)
            self._state.emit(SendDatagram(data, peer.path, encapsulated_ds(packet) if packet else 0))
        traffic = peer.traffic
        peer.traffic = replace(
            traffic, tx_bytes=traffic.tx_bytes + size, tx_packets=traffic.tx_packets + len(packets)
        )

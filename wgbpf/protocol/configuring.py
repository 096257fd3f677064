"""Applies a DeviceChange: the difference to the present state, and nothing where there is none."""

from .actions import RemovePeer, RestrictSession, SetPeer
from .addresses import Path
from .allowedips import Network
from .changes import DeviceChange, PeerChange
from .constants import MAX_PEERS
from .cookies import CookieChecker
from .crypto import ZERO_KEY, PrivateKey, Secret, clamp
from .drops import Drop
from .peer import Peer
from .sending import Sender
from .state import State


class TooManyPeers(Exception):
    """The change would take the device past MAX_PEERS; nothing was applied."""


class Configurator:
    def __init__(self, state: State, sender: Sender) -> None:
        self._state = state
        self._sender = sender
        self._altered: dict[int, Peer] = {}

    def apply(self, change: DeviceChange, now: float) -> None:
        """All of it or, with TooManyPeers, nothing."""
        self._check_room(change)
        if change.private_key is not None:
            self._private_key(change.private_key)
        if change.listen_port is not None and change.listen_port != self._state.listen_port:
            self._state.listen_port = change.listen_port
            self._clear_sources()
        if change.fwmark is not None and change.fwmark != self._state.fwmark:
            self._state.fwmark = change.fwmark
            self._clear_sources()
        fresh: set[bytes] = set()
        if change.replace_peers:
            fresh = {p.public_key for p in change.peers if not p.remove}
            for peer in [p for p in self._state.peers.values() if p.public_key not in fresh]:
                self._remove(peer)
        for peer_change in change.peers:
            self._peer(_replacing(peer_change) if peer_change.public_key in fresh else peer_change, now)
            fresh.discard(peer_change.public_key)
        for peer in self._altered.values():
            self._state.emit(SetPeer(peer.entry(self._state.allowed_ips.of(peer.number))))
        self._altered.clear()

    def _check_room(self, change: DeviceChange) -> None:
        known = set() if change.replace_peers else set(self._state.by_key)
        for peer in change.peers:
            if peer.remove:
                known.discard(peer.public_key)
            elif not peer.update_only:
                known.add(peer.public_key)
        if len(known) > MAX_PEERS:
            raise TooManyPeers(f"{len(known)} peers; the limit is {MAX_PEERS}")

    # --- device ---

    def _private_key(self, secret: Secret) -> None:
        state = self._state
        wanted = Secret(clamp(bytes(secret))) if secret else None
        if wanted == state.private_secret:
            return
        for peer in state.peers.values():
            state.forget_handshake(peer)
            peer.forget_static_static()
            for keypair in (peer.keypairs.current, peer.keypairs.next):
                if keypair is not None and not keypair.receive_only:
                    keypair.receive_only = True
                    state.emit(RestrictSession(keypair.local_index))
        if state.private_secret is not None:
            state.private_secret.wipe()
        state.private_secret = wanted
        if wanted is None:
            state.private_key = state.checker = None
            return
        state.private_key = PrivateKey(bytes(wanted))
        state.checker = CookieChecker(state.private_key.public, state.rand)
        own = state.by_key.get(state.private_key.public)
        if own is not None:
            self._remove(own)

    def _clear_sources(self) -> None:
        for peer in self._state.peers.values():
            self._state.clear_source(peer)

    # --- peers ---

    def _peer(self, change: PeerChange, now: float) -> None:
        state = self._state
        peer = state.by_key.get(change.public_key)
        if change.remove:
            if peer is not None:
                self._remove(peer)
            return
        if peer is None:
            own = state.private_key is not None and state.private_key.public == change.public_key
            if change.update_only or own:
                return
            peer = self._create(change.public_key)
        if change.preshared_key is not None and change.preshared_key != peer.preshared_key:
            peer.preshared_key = Secret(bytes(change.preshared_key))
        moved = self._endpoint(peer, change)
        self._allowed_ips(peer, change)
        if change.persistent_keepalive is not None:
            self._keepalive(peer, change.persistent_keepalive, now)
        if moved:
            self._sender.flush(peer, now)

    def _create(self, public_key: bytes) -> Peer:
        peer = Peer(self._state.new_number(), public_key)
        self._state.peers[peer.number] = peer
        self._state.by_key[public_key] = peer
        self._altered[peer.number] = peer
        return peer

    def _remove(self, peer: Peer) -> None:
        state = self._state
        state.wipe_keys(peer)
        for _ in peer.take_staged():
            state.drop(Drop.STAGED_TIMEOUT, peer)
        peer.preshared_key.wipe()
        state.allowed_ips.remove_peer(peer.number)
        state.agenda.set(peer.number, None)
        del state.peers[peer.number]
        del state.by_key[peer.public_key]
        self._altered.pop(peer.number, None)
        state.emit(RemovePeer(peer.number))
        state.free_number(peer.number)

    def _endpoint(self, peer: Peer, change: PeerChange) -> bool:
        """An endpoint that is configured again does not undo what roaming has learned."""
        if change.endpoint is None or change.endpoint == peer.configured_endpoint:
            return False
        peer.configured_endpoint = change.endpoint
        if peer.path is not None and peer.path.remote == change.endpoint:
            return False
        self._state.set_path(peer, Path(change.endpoint))
        return True

    def _allowed_ips(self, peer: Peer, change: PeerChange) -> None:
        table = self._state.allowed_ips
        before = list(table.of(peer.number))
        wanted: dict[Network, None] = {} if change.replace_allowed_ips else dict.fromkeys(before)
        for item in change.allowed_ips:
            if item.remove:
                wanted.pop(item.network, None)
            else:
                wanted[item.network] = None
        kept = set(before)
        for network in before:
            if network not in wanted:
                table.remove(network, peer.number)
        for network in wanted:
            if network not in kept:
                loser = table.insert(network, peer.number)
                if loser is not None:
                    self._altered[loser] = self._state.peers[loser]
        if kept != wanted.keys():
            # Behind those that lose a prefix to it: a data path applies them in this order.
            self._altered.pop(peer.number, None)
            self._altered[peer.number] = peer

    def _keepalive(self, peer: Peer, interval: int, now: float) -> None:
        before = peer.timers.persistent_interval
        if interval == before:
            return
        peer.timers.persistent_enabled(interval, now)
        if before == 0 and self._state.up:
            self._sender.keepalive(peer, now)
        self._state.touch(peer)


def _replacing(change: PeerChange) -> PeerChange:
    """What a peer is after `replace_peers` made it anew: unsaid means default, except its endpoint."""
    return PeerChange(
        public_key=change.public_key,
        update_only=change.update_only,
        preshared_key=Secret(ZERO_KEY) if change.preshared_key is None else change.preshared_key,
        endpoint=change.endpoint,
        persistent_keepalive=change.persistent_keepalive or 0,
        replace_allowed_ips=True,
        allowed_ips=change.allowed_ips,
    )

"""The `tun` data path in pure Python: the reference for the native pump, and its fallback.

Inner packets come from and go to a TUN device, outer ones through UDP sockets. Sessions are the core's
Keypair objects, each owned by this data path alone, so counters and replay windows have one owner.
"""

import errno
from collections.abc import Sequence

from ..protocol import inner
from ..protocol.actions import PeerEntry, Session, Traffic
from ..protocol.addresses import Path
from ..protocol.allowedips import AllowedIps
from ..protocol.drops import Drop, Rejected
from ..protocol.keypairs import Keypair
from ..protocol.messages import DATA_HEADER_SIZE, DATA_OVERHEAD, MessageType
from ..protocol.noise import TransportKeys
from .interface import (
    Active,
    Confirmed,
    Counters,
    DataDrop,
    Direction,
    Event,
    HandshakeReceived,
    InterfaceGone,
    NeedsSession,
    Roamed,
)
from .netlink import Netlink
from .peertable import PeerRecord
from .tunbase import TunBase, boot_time

_BATCH = 64
_DATA_TYPE = MessageType.DATA.to_bytes(4, "little")

_RECEIVE_DROPS = tuple(DataDrop)[: tuple(DataDrop).index(DataDrop.INTERFACE_FULL) + 1]
_TRANSMIT_DROPS = (
    DataDrop.BAD_INNER_PACKET,
    DataDrop.KEY_EXPIRED,
    DataDrop.NO_ROUTE,
    DataDrop.NO_ENDPOINT,
    DataDrop.SEND_FAILED,
)


class TunDataPath(TunBase):
    name = "tun"

    def __init__(self, netlink: Netlink) -> None:
        super().__init__(netlink)
        self._mtu = 0
        self._peers: dict[int, PeerRecord] = {}
        self._sessions: dict[int, tuple[PeerRecord, Keypair]] = {}
        self._allowed_ips = AllowedIps()
        self._changed: set[int] = set()
        self._packets = dict.fromkeys(Direction, 0)
        self._bytes = dict.fromkeys(Direction, 0)
        self._drops: dict[tuple[Direction, str], int] = {
            **{(Direction.RECEIVE, reason.value): 0 for reason in _RECEIVE_DROPS},
            **{(Direction.TRANSMIT, reason.value): 0 for reason in _TRANSMIT_DROPS},
        }

    def set_mtu(self, mtu: int) -> None:
        self._mtu = mtu

    # --- events ---

    def files(self) -> list[int]:
        files = [] if self._tun is None else [self._tun.fd]
        return files + ([] if self._udp is None else self._udp.files())

    def poll(self, fd: int) -> list[Event]:
        if self._tun is None or self._udp is None:
            return []
        quiet = not self._changed
        events = self._from_tun(boot_time()) if fd == self._tun.fd else self._from_udp(fd, boot_time())
        if quiet and self._changed:
            events.append(Active())
        return events

    # --- inner to outer ---

    def _from_tun(self, now: float) -> list[Event]:
        assert self._tun is not None
        waiting: dict[int, list[bytes]] = {}
        for _ in range(_BATCH):
            try:
                packet = self._tun.read()
            except OSError as error:
                if error.errno == errno.EBADFD:
                    return [InterfaceGone()]
                raise
            if packet is None:
                break
            peer = self._route(packet)
            if peer is None:
                continue
            keypair = peer.sending
            if keypair is None or not keypair.may_send(now):
                waiting.setdefault(peer.number, []).append(packet)
            else:
                self._seal_and_send(peer, keypair, packet, now)
        return [NeedsSession(number, tuple(packets)) for number, packets in waiting.items()]

    def _route(self, packet: bytes) -> PeerRecord | None:
        try:
            owner = self._allowed_ips.owner(inner.destination(packet))
        except Rejected:
            self._drop(Direction.TRANSMIT, DataDrop.BAD_INNER_PACKET)
            return None
        if owner is None:
            self._drop(Direction.TRANSMIT, DataDrop.NO_ROUTE)
            self.refuse(packet)
            return None
        return self._peers[owner]

    def _seal_and_send(self, peer: PeerRecord, keypair: Keypair, packet: bytes, now: float) -> None:
        assert self._udp is not None
        if peer.path is None:
            self._drop(Direction.TRANSMIT, DataDrop.NO_ENDPOINT)
            return
        data = keypair.seal(packet, self._mtu)
        ds = inner.encapsulated_ds(packet) if packet else 0
        if not self._udp.send(data, peer.path, ds):
            self._drop(Direction.TRANSMIT, DataDrop.SEND_FAILED)
            return
        peer.sent(len(data), now, empty=not packet)
        self._count(Direction.TRANSMIT, peer, len(data))

    def transmit(self, local_index: int, packets: Sequence[bytes]) -> None:
        now = boot_time()
        peer, keypair = self._sessions.get(local_index, (None, None))
        for packet in packets:
            if peer is None or keypair is None or not keypair.may_send(now):
                self._drop(Direction.TRANSMIT, DataDrop.KEY_EXPIRED)
            else:
                self._seal_and_send(peer, keypair, packet, now)

    # --- outer to inner ---

    def _from_udp(self, fd: int, now: float) -> list[Event]:
        assert self._udp is not None
        events: list[Event] = []
        for datagram, path, ds in self._udp.receive(fd, _BATCH):
            if datagram[:4] != _DATA_TYPE:
                events.append(HandshakeReceived(datagram, path))
                continue
            try:
                self._open_and_deliver(datagram, path, ds, now, events)
            except Rejected as why:
                self._drop(Direction.RECEIVE, DataDrop(why.reason.value))
        return events

    def _open_and_deliver(
        self, datagram: bytes, path: Path, ds: int, now: float, events: list[Event]
    ) -> None:
        """Rule (h): key, replay, endpoint, confirmation, stamps; only then what is inside."""
        assert self._tun is not None
        if len(datagram) < DATA_OVERHEAD:
            raise Rejected(Drop.BAD_LENGTH)
        peer, keypair = self._sessions.get(int.from_bytes(datagram[4:8], "little"), (None, None))
        if peer is None or keypair is None:
            raise Rejected(Drop.UNKNOWN_INDEX)
        counter = int.from_bytes(datagram[8:16], "little")
        plain = keypair.open(counter, datagram[DATA_HEADER_SIZE:], now)
        if peer.path != path:
            peer.path = path
            events.append(Roamed(peer.number, path))
        if keypair is peer.unconfirmed:
            peer.unconfirmed = None
            peer.sending = keypair
            events.append(Confirmed(keypair.local_index))
        peer.received(now, empty=not plain)
        self._changed.add(peer.number)
        if plain:
            packet = self._checked(peer, plain, ds)
            if not self._tun.write(packet):
                self._drop(Direction.RECEIVE, DataDrop.INTERFACE_FULL)
                return
        peer.rx_bytes += len(datagram)
        peer.rx_packets += 1
        self._count(Direction.RECEIVE, peer, len(datagram))

    def _checked(self, peer: PeerRecord, plain: bytes, ds: int) -> bytes:
        packet = inner.trim(plain)
        if self._allowed_ips.owner(inner.source(packet)) != peer.number:
            raise Rejected(Drop.FORBIDDEN_SOURCE)
        marked = inner.decapsulate_ecn(packet, ds)
        if marked is None:
            raise Rejected(Drop.BAD_ECN)
        return marked

    # --- peers and sessions ---

    def set_peer(self, entry: PeerEntry) -> None:
        record = self._peers.get(entry.peer)
        if record is None:
            record = self._peers[entry.peer] = PeerRecord(entry.peer, entry.path)
        wanted = dict.fromkeys(entry.allowed_ips)
        for network in [n for n in self._allowed_ips.of(entry.peer) if n not in wanted]:
            self._allowed_ips.remove(network, entry.peer)
        for network in wanted:
            self._allowed_ips.insert(network, entry.peer)

    def set_endpoint(self, peer: int, path: Path | None) -> None:
        record = self._peers.get(peer)
        if record is not None:
            record.path = path

    def remove_peer(self, peer: int) -> None:
        if self._peers.pop(peer, None) is not None:
            self._allowed_ips.remove_peer(peer)
            self._changed.discard(peer)

    def install(self, session: Session) -> None:
        self.guard.installed(session)
        peer = self._peers[session.peer]
        keypair = Keypair(
            TransportKeys(
                session.send_key,
                session.receive_key,
                session.local_index,
                session.remote_index,
                session.initiator,
            ),
            session.created,
        )
        self._sessions[session.local_index] = (peer, keypair)
        if session.initiator:
            peer.sending, peer.unconfirmed = keypair, None
        else:
            peer.unconfirmed = keypair

    def restrict(self, local_index: int) -> None:
        entry = self._sessions.get(local_index)
        if entry is not None:
            entry[1].receive_only = True

    def retire(self, local_index: int) -> None:
        self.guard.retired(local_index)
        entry = self._sessions.pop(local_index, None)
        if entry is None:
            return
        peer, keypair = entry
        if peer.sending is keypair:
            peer.sending = None
        if peer.unconfirmed is keypair:
            peer.unconfirmed = None

    # --- facts ---

    def collect(self) -> list[Traffic]:
        changed, self._changed = self._changed, set()
        return [self._peers[number].traffic() for number in changed if number in self._peers]

    def counters(self) -> Counters:
        return Counters(dict(self._packets), dict(self._bytes), self._with_guard(dict(self._drops)))

    def info(self) -> dict[str, str]:
        families = "IPv4 and IPv6" if self._udp is not None and self._udp.v6 is not None else "IPv4 only"
        return {
            "pump": "python: some 350 Mbit/s for one TCP flow; the native pump is several times faster",
            "sockets": families,
        }

    # --- counting ---

    def _count(self, direction: Direction, peer: PeerRecord, size: int) -> None:
        self._packets[direction] += 1
        self._bytes[direction] += size
        self._changed.add(peer.number)

    def _drop(self, direction: Direction, reason: DataDrop) -> None:
        self._drops[direction, reason.value] += 1

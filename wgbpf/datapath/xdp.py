"""The `xdp` data path: BPF programs carry every data packet of an established session.

The controller's own packets take the programs' ways too, so that counters and replay windows have one owner:
what it sends under a session goes as a frame into the egress program, data that reached its UDP socket is
fed to the ingress program.
"""

import ctypes
import os
from collections.abc import Sequence

from ..protocol.actions import PeerEntry, SendDatagram, Session, Traffic
from ..protocol.addresses import Address, Path
from ..protocol.messages import MessageType
from . import abi, icmp, xdpfacts
from .bpffs import mount
from .guard import OFF, XdpGuard
from .guardmaps import GuardMaps
from .interface import (
    Active,
    Confirmed,
    Counters,
    DataDrop,
    DataPath,
    DataPathError,
    Direction,
    Event,
    Guard,
    HandshakeReceived,
    InterfaceSpec,
    NeedsSession,
    Roamed,
)
from .libbpf import XDP_DROP, XDP_REDIRECT, RingBuffers
from .netlink import Netlink
from .outerframe import outer_frame
from .udp import UdpSockets
from .vethpair import VethPair
from .xdpload import Sealing, set_up_steering
from .xdpmaps import XdpMaps, unpack_path
from .xdpnics import XdpNics
from .xdppeers import XdpPeers
from .xdpprograms import GENERIC, XdpPrograms

_BATCH = 64
_DATA_TYPE = MessageType.DATA.to_bytes(4, "little")
_EVENT = ctypes.sizeof(abi.Event)
_MIN_SLOT_BITS = 14
_LOOPBACK = 1
_SHORTEST_FRAME = 64


class XdpDataPath(DataPath):
    name = "xdp"
    slot_bits = _MIN_SLOT_BITS
    max_mtu = abi.MAX_INNER - 80

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._veth: VethPair | None = None
        self._programs: XdpPrograms | None = None
        self._maps: XdpMaps | None = None
        self._rings: RingBuffers | None = None
        self._udp: UdpSockets | None = None
        self._sealing: Sealing | None = None
        self._nics: XdpNics | None = None
        self._guard_maps: GuardMaps | None = None
        self._peers: XdpPeers | None = None
        self._pending: list[Event] = []
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._records: list[bytes] = []
        self._lost: dict[tuple[Direction, str], int] = dict.fromkeys(xdpfacts.OWN_DROPS, 0)
        self._undelivered = 0
        self._owners: dict[Address, int] = {}

    # --- life ---

    def open(self, spec: InterfaceSpec) -> None:
        self.slot_bits = max(_MIN_SLOT_BITS, (4 * spec.peers - 1).bit_length())
        try:
            self._open(spec)
        except Exception:
            self.close()
            raise

    def _open(self, spec: InterfaceSpec) -> None:
        self._veth = veth = VethPair(self._netlink, spec.name)
        self._programs = programs = XdpPrograms(spec.name)
        adopting = self._take_over(veth, programs)
        if not adopting:
            programs.pins.remove()
            # Whoever dies from here on leaves a trace for `detach`.
            programs.pins.create()
            veth.create(min(spec.mtu, self.max_mtu))
        settings = abi.Settings((1 << self.slot_bits) - 1, spec.mode == GENERIC, veth.far)
        settings.near_mac[:] = list(veth.near_mac)
        settings.far_mac[:] = list(veth.far_mac)
        programs.load(settings, 1 << self.slot_bits, 1 << self.slot_bits - 1)
        self._maps = maps = XdpMaps(programs.maps)
        self._peers = XdpPeers(maps)
        self._rings = RingBuffers([programs.maps["events"], programs.maps["packets"]], self._records.append)
        if adopting:
            # Facts from before are in the maps, not in the rings.
            self._rings.consume()
            self._records.clear()
            self._peers.adopt()
        guard = self._set_up_guard(spec.guard, maps)
        self._nics = XdpNics(self._netlink, veth, programs, maps, guard, spec.mode)
        maps.set_control("mtu", spec.mtu)
        set_up_steering(maps, programs.programs["wg_steered"].fd)
        self._sealing = Sealing(veth.far_name, maps)
        self.network_changed()
        for nic in spec.nics:
            self.attach_nic(nic, spec.replace)

    def _set_up_guard(self, wanted: str, maps: XdpMaps) -> GuardMaps:
        assert self._programs is not None
        self._guard_maps = made = GuardMaps(self._programs.maps)
        for index in self.live_indices():
            made.live.adopted(index)
        if wanted == "off":
            made.off()
            self.guard = Guard(OFF)
        else:
            self.guard = XdpGuard(made, maps.count, lambda: "in the data path's program")
        return made

    def _take_over(self, veth: VethPair, programs: XdpPrograms) -> bool:
        """Whether an earlier process left an interface that is still alive."""
        mount()
        link = self._netlink.link(veth.name)
        if not programs.pins.names("map_") or link is None:
            return False
        veth.adopt()
        try:
            programs.adopt()
        except OSError as error:
            raise DataPathError(f"taking over {veth.name}: {error}") from error
        self.slot_bits = (programs.maps["sessions"].max_entries - 1).bit_length()
        return True

    def live_indices(self) -> list[int]:
        return [] if self._peers is None else self._peers.live_indices()

    def ready(self) -> None:
        assert self._programs is not None and self._peers is not None
        self._peers.drop_unclaimed()
        try:
            self._programs.switch()
            self._programs.pin()
        except OSError as error:
            raise DataPathError(f"pinning: {error}") from error
        # Our core has no key for what still runs: a handshake each makes one.
        for peer in self._peers.adopted():
            self._wake(NeedsSession(peer, (b"",)))

    def _wake(self, event: Event) -> None:
        self._pending.append(event)
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        if self._rings is not None:
            self._rings.close()
            self._rings = None
        if self._sealing is not None:
            self._sealing.close()
            self._sealing = None
        self.guard = Guard("closed")
        for maps in (self._guard_maps, self._maps):
            if maps is not None:
                maps.close()
        self._guard_maps = self._maps = None
        if self._programs is not None:
            self._programs.close()
            self._programs = None
        if self._veth is not None:
            self._veth.delete()
            self._veth = None
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def bind(self, listen_port: int, fwmark: int) -> int:
        assert self._maps is not None
        self._udp = UdpSockets.rebind(self._udp, listen_port, fwmark)
        self._maps.set_control("listen_port", self._udp.port)
        self._maps.set_control("fwmark", fwmark)
        return self._udp.port

    def attach_nic(self, nic: str, replace: bool = False) -> None:
        assert self._nics is not None
        self._nics.attach(nic, replace)

    def detach_nic(self, nic: str) -> None:
        assert self._nics is not None
        self._nics.detach(nic)

    def network_changed(self) -> None:
        assert self._maps is not None and self._nics is not None
        self._owners = self._netlink.address_owners()
        self._maps.set_locals(self._owners)
        self._nics.look()

    @property
    def is_native(self) -> bool:
        """Whether packets are received and sent by native XDP."""
        return self._nics is not None and self._nics.is_native

    @property
    def ifindex(self) -> int:
        return 0 if self._veth is None else self._veth.near

    def set_mtu(self, mtu: int) -> None:
        if self._maps is not None:
            self._maps.set_control("mtu", mtu)

    # --- events ---

    def files(self) -> list[int]:
        files = [] if self._rings is None else [self._rings.fd, self._wake_fd]
        return files + ([] if self._udp is None else self._udp.files())

    def poll(self, fd: int) -> list[Event]:
        if self._rings is None or self._udp is None:
            return []
        if fd == self._wake_fd:
            os.eventfd_read(fd)
            events, self._pending = self._pending, []
            return events
        if fd == self._rings.fd:
            return self._from_programs()
        return self._from_udp(fd)

    def _from_programs(self) -> list[Event]:
        assert self._rings is not None
        self._rings.consume()
        events: list[Event] = []
        waiting: dict[int, list[bytes]] = {}
        for record in self._records:
            event = abi.Event.from_buffer_copy(record)
            self._program_event(event, record[_EVENT : _EVENT + event.length], events, waiting)
        self._records.clear()
        for slot, packets in waiting.items():
            peer = self._peer_at(slot)
            if peer is not None:
                events.append(NeedsSession(peer, tuple(packets)))
        return events

    def _program_event(
        self, event: abi.Event, packet: bytes, events: list[Event], waiting: dict[int, list[bytes]]
    ) -> None:
        match event.kind:
            case abi.EventKind.CONFIRMED:
                events.append(Confirmed(event.index))
            case abi.EventKind.ROAMED:
                peer = self._peer_at(event.peer)
                if peer is not None:
                    events.append(Roamed(peer, unpack_path(self._located(event))))
            case abi.EventKind.ACTIVE:
                events.append(Active())
            case abi.EventKind.BUSY:
                assert self._sealing is not None
                self._sealing.busy()
            case abi.EventKind.STAGE:
                waiting.setdefault(event.peer, []).append(packet)
            case abi.EventKind.SEND:
                assert self._udp is not None
                if not self._udp.send(packet, unpack_path(self._located(event)), event.ds):
                    self._lost[Direction.TRANSMIT, DataDrop.SEND_FAILED] += 1
            case abi.EventKind.REFUSE:
                self.refuse(packet)

    def _peer_at(self, slot: int) -> int | None:
        return None if self._peers is None else self._peers.peer(slot)

    def _located(self, event: abi.Event) -> abi.Event:
        """Programs see a NIC below its VLANs, and the loopback where the controller fed them."""
        if event.vlan or event.ifindex in (0, _LOOPBACK):
            path = unpack_path(event)
            if path.local is not None:
                event.ifindex = self._owners.get(path.local.address, 0)
        return event

    # --- inner to outer ---

    def transmit(self, local_index: int, packets: Sequence[bytes]) -> None:
        for packet in packets:
            if self._veth is None or not self._veth.transmit(local_index, packet):
                self._lost[Direction.TRANSMIT, DataDrop.SEND_FAILED] += 1

    def send(self, datagram: SendDatagram) -> None:
        self.guard.sent(datagram.data)
        if self._udp is None or not self._udp.send(datagram.data, datagram.path, datagram.ds):
            self._lost[Direction.TRANSMIT, DataDrop.SEND_FAILED] += 1

    def refuse(self, packet: bytes) -> None:
        # The programs and the core pass few of these on.
        answer = icmp.unreachable(packet)
        if answer is not None and self._veth is not None:
            self._veth.deliver(answer)

    # --- outer to inner ---

    def _from_udp(self, fd: int) -> list[Event]:
        assert self._udp is not None
        events: list[Event] = []
        for datagram, path, ds in self._udp.receive(fd, _BATCH):
            if datagram[:4] == _DATA_TYPE:
                self._feed(datagram, path, ds)
            else:
                events.append(HandshakeReceived(datagram, path))
        return events

    def _feed(self, datagram: bytes, path: Path, ds: int) -> None:
        """Data that no NIC of ours received, or in pieces, goes through the same program."""
        assert self._programs is not None and self._veth is not None and self._udp is not None
        frame = outer_frame(datagram, path, self._udp.port, ds)
        if frame is None or len(datagram) > abi.MAX_INNER + 32:
            self._lost[Direction.RECEIVE, DataDrop.TOO_BIG] += 1
            return
        verdict, inner, _ = self._programs.programs["wg_feed"].test_run(frame)
        if verdict == XDP_REDIRECT:
            if not self._veth.deliver_frame(inner):
                self._undelivered += 1
        elif verdict != XDP_DROP:
            self._lost[Direction.RECEIVE, DataDrop.TOO_BIG] += 1

    # --- peers and sessions ---

    def set_peer(self, entry: PeerEntry) -> None:
        assert self._peers is not None
        roamed = self._peers.set_peer(entry)
        if roamed is not None:
            # It may have roamed since it was configured.
            self._wake(Roamed(entry.peer, roamed))

    def set_endpoint(self, peer: int, path: Path | None) -> None:
        if self._peers is not None:
            self._peers.set_endpoint(peer, path)

    def remove_peer(self, peer: int) -> None:
        if self._peers is not None:
            self._peers.remove_peer(peer)

    def install(self, session: Session) -> None:
        assert self._peers is not None
        self.guard.installed(session)
        self._peers.install(session)

    def restrict(self, local_index: int) -> None:
        assert self._programs is not None and self._peers is not None
        self._peers.stop_sending(local_index)
        frame = local_index.to_bytes(4, "little").ljust(_SHORTEST_FRAME, b"\0")
        self._programs.programs["wg_restrict"].test_run(frame)

    def retire(self, local_index: int) -> None:
        self.guard.retired(local_index)
        if self._peers is not None:
            self._peers.retire(local_index)

    # --- facts ---

    def collect(self) -> list[Traffic]:
        if self._sealing is not None:
            self._sealing.look()
        return [] if self._peers is None else self._peers.collect()

    def counters(self) -> Counters:
        assert self._maps is not None and self._veth is not None
        self._lost[Direction.RECEIVE, DataDrop.INTERFACE_FULL] = (
            self._undelivered + self._veth.ring_overflows()
        )
        return xdpfacts.counters(self._maps.count, self._lost)

    def info(self) -> dict[str, str]:
        assert self._maps is not None and self._nics is not None
        threads = ", in threads" if self._sealing and self._sealing.threaded else ""
        memory = self._maps.memory()
        return {
            "mode": self._nics.receiving,
            "sending": self._nics.sending + threads,
            "sessions": f"room for {1 << self.slot_bits}, {self._maps.max_peers} peers",
            "memory": f"{memory / 1e6:.1f} MB of maps, {memory // self._maps.max_peers} bytes a peer",
        } | xdpfacts.ways(self._maps.count)

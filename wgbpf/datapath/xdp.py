"""The `xdp` data path: BPF programs carry every data packet of an established session.

The controller's own packets take the programs' ways too, so that counters and replay windows have one owner:
what it sends under a session goes as a frame into the egress program, data that reached its UDP socket is
fed to the ingress program.
"""

import os
import struct
import time
from collections.abc import Sequence
from dataclasses import replace

from ..protocol.actions import PeerEntry, SendDatagram, Session, Traffic
from ..protocol.addresses import Address, Path
from ..protocol.constants import REJECT_AFTER_TIME
from ..protocol.messages import MessageType
from . import abi, icmp, xdpfeatures
from .bpffs import mount
from .interface import (
    Active,
    Confirmed,
    Counters,
    DataPath,
    DataPathError,
    Direction,
    Event,
    HandshakeReceived,
    InterfaceSpec,
    NeedsSession,
    Roamed,
)
from .libbpf import XDP_DROP, XDP_REDIRECT, RingBuffers
from .netlink import Netlink
from .outerframe import outer_frame
from .peerslots import PeerSlots
from .udp import UdpSockets
from .vethpair import VethPair
from .xdpmaps import XdpMaps, unpack_path
from .xdpprograms import GENERIC, NATIVE, XdpPrograms

_BATCH = 64
_DATA_TYPE = MessageType.DATA.to_bytes(4, "little")
_EVENT = struct.calcsize("=60x")
_MIN_SLOT_BITS = 14
_STEER_ABOVE = 300
"""Packets of one session in 10 ms above which another CPU opens them."""
_CPU_QUEUE = 2048
_LOOPBACK = 1

_RECEIVE_DROPS = {
    "bad_type": abi.Count.RX_BAD_TYPE,
    "bad_length": abi.Count.RX_BAD_LENGTH,
    "unknown_index": abi.Count.RX_UNKNOWN_INDEX,
    "key_expired": abi.Count.RX_KEY_EXPIRED,
    "bad_tag": abi.Count.RX_BAD_TAG,
    "replay": abi.Count.RX_REPLAY,
    "bad_inner_packet": abi.Count.RX_BAD_INNER_PACKET,
    "forbidden_source": abi.Count.RX_FORBIDDEN_SOURCE,
    "bad_ecn": abi.Count.RX_BAD_ECN,
    "failed": abi.Count.RX_FAILED,
}
_TRANSMIT_DROPS = {
    "bad_inner_packet": abi.Count.TX_BAD_INNER_PACKET,
    "key_expired": abi.Count.TX_KEY_EXPIRED,
    "no_route": abi.Count.TX_NO_ROUTE,
    "no_endpoint": abi.Count.TX_NO_ENDPOINT,
    "too_big": abi.Count.TX_TOO_BIG,
    "staged_overflow": abi.Count.TX_STAGED_OVERFLOW,
    "queue_full": abi.Count.TX_QUEUE_FULL,
    "failed": abi.Count.TX_FAILED,
}


def boot_time() -> float:
    """CLOCK_BOOTTIME in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


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
        self._mode = "auto"
        self._far_mode = NATIVE
        self._nics: dict[str, tuple[int, str]] = {}
        self._slots = PeerSlots(0)
        self._session_peer: dict[int, int] = {}
        self._adopted: dict[int, int] = {}
        self._adopted_until = 0.0
        self._pending: list[Event] = []
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._records: list[bytes] = []
        self._send_failed = self._interface_full = self._too_big = 0
        self._owners: dict[Address, int] = {}

    # --- life ---

    def open(self, spec: InterfaceSpec) -> None:
        self._mode = spec.mode
        self._far_mode = GENERIC if spec.mode == GENERIC else NATIVE
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
            veth.create(min(spec.mtu, self.max_mtu))
        settings = abi.Settings((1 << self.slot_bits) - 1, veth.far)
        settings.near_mac[:] = list(veth.near_mac)
        settings.far_mac[:] = list(veth.far_mac)
        programs.load(settings, 1 << self.slot_bits, 1 << self.slot_bits - 1)
        self._maps = maps = XdpMaps(programs.maps)
        self._slots = PeerSlots(maps.max_peers)
        self._rings = RingBuffers([programs.maps["events"], programs.maps["packets"]], self._records.append)
        if adopting:
            self._adopt_state()
        self._attach_far()
        maps.set_control("mtu", spec.mtu)
        self._set_up_steering()
        self.network_changed()
        for nic in spec.nics:
            self.attach_nic(nic)

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

    def _adopt_state(self) -> None:
        """Peers by their keys; sessions stay until they expire. Facts from before are in the maps, not the rings."""
        assert self._maps is not None and self._rings is not None
        self._slots.adopt(self._maps.peer_keys())
        self._rings.consume()
        self._records.clear()
        self._adopted = {s.local_index: s.peer for s in self._maps.all_sessions()}
        self._adopted_until = boot_time() + REJECT_AFTER_TIME

    def live_indices(self) -> list[int]:
        return list(self._adopted)

    def ready(self) -> None:
        assert self._programs is not None and self._maps is not None
        gone = self._slots.take_unclaimed()
        for slot in gone:
            self._maps.remove_peer(slot)
        for index in [i for i, slot in self._adopted.items() if slot in gone]:
            self._maps.clear_session(index)
            del self._adopted[index]
        try:
            self._programs.switch()
            self._programs.pin()
        except OSError as error:
            raise DataPathError(f"pinning: {error}") from error
        # Our core has no key for what still runs: a handshake each makes one.
        for slot in set(self._adopted.values()):
            peer = self._slots.peer(slot)
            if peer is not None and self._maps.sending(slot) is not None:
                self._wake(NeedsSession(peer, (b"",)))

    def _wake(self, event: Event) -> None:
        self._pending.append(event)
        os.eventfd_write(self._wake_fd, 1)

    def _forget_adopted(self) -> None:
        assert self._maps is not None
        if self._adopted and boot_time() > self._adopted_until:
            for index in self._adopted:
                if index not in self._session_peer:
                    self._maps.clear_session(index)
            self._adopted.clear()

    def _attach_far(self) -> None:
        assert self._programs is not None and self._veth is not None
        try:
            self._programs.attach_far(self._veth.far, self._far_mode)
        except OSError as error:
            raise DataPathError(f"attaching to {self._veth.far_name}: {error}") from error

    def _set_up_steering(self) -> None:
        assert self._programs is not None and self._maps is not None
        cpus = min(xdpfeatures.online_cpus(), abi.MAX_CPUS)
        for cpu in range(cpus):
            self._maps.set_cpu(cpu, _CPU_QUEUE, self._programs.programs["wg_steered"].fd)
        self._maps.set_control("cpus", cpus)
        self._maps.set_control("steer_above", _STEER_ABOVE if cpus > 1 else 0)

    def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        if self._rings is not None:
            self._rings.close()
            self._rings = None
        if self._maps is not None:
            self._maps.close()
            self._maps = None
        if self._programs is not None:
            self._programs.close()
            self._programs = None
        if self._veth is not None:
            self._veth.delete()
            self._veth = None
        self._nics.clear()
        if self._wake_fd >= 0:
            os.close(self._wake_fd)
            self._wake_fd = -1

    def bind(self, listen_port: int, fwmark: int) -> int:
        assert self._maps is not None
        self._udp = UdpSockets.rebind(self._udp, listen_port, fwmark)
        self._maps.set_control("listen_port", self._udp.port)
        self._maps.set_control("fwmark", fwmark)
        return self._udp.port

    def attach_nic(self, nic: str) -> None:
        assert self._programs is not None
        index = self._netlink.index(nic)
        if nic in self._nics:
            raise DataPathError(f"{nic} is attached already")
        self._nics[nic] = index, self._programs.attach_nic(nic, index, self._mode)
        self._look_at_nics()

    def detach_nic(self, nic: str) -> None:
        assert self._programs is not None and self._maps is not None
        if nic not in self._nics:
            raise DataPathError(f"{nic} is not attached")
        index, _ = self._nics.pop(nic)
        self._maps.set_nic(index, False)
        self._programs.detach_nic(index)

    def network_changed(self) -> None:
        assert self._maps is not None
        owners = self._netlink.address_owners()
        self._owners = dict(owners)
        self._maps.set_locals(owners)
        self._look_at_nics()

    def _look_at_nics(self) -> None:
        """What is sealed natively can leave only by a NIC that takes redirected frames."""
        assert self._maps is not None and self._programs is not None
        features = {index: xdpfeatures.xdp_features(index) for index, _ in self._nics.values()}
        takes = xdpfeatures.REDIRECT_TARGET
        if self._far_mode == NATIVE and any(f is not None and not f & takes for f in features.values()):
            self._far_mode = GENERIC
            self._programs.detach_far()
            self._attach_far()
        for index, found in features.items():
            usable = self._far_mode == GENERIC or found is None or bool(found & takes)
            self._maps.set_nic(index, usable)

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
            peer = self._slots.peer(slot)
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
                peer = self._slots.peer(event.peer)
                if peer is not None:
                    events.append(Roamed(peer, unpack_path(self._located(event))))
            case abi.EventKind.ACTIVE:
                events.append(Active())
            case abi.EventKind.STAGE:
                waiting.setdefault(event.peer, []).append(packet)
            case abi.EventKind.SEND:
                assert self._udp is not None
                if not self._udp.send(packet, unpack_path(self._located(event)), event.ds):
                    self._send_failed += 1
            case abi.EventKind.REFUSE:
                self.refuse(packet)

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
                self._send_failed += 1

    def send(self, datagram: SendDatagram) -> None:
        if self._udp is None or not self._udp.send(datagram.data, datagram.path, datagram.ds):
            self._send_failed += 1

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
            self._too_big += 1
            return
        verdict, inner, _ = self._programs.programs["wg_feed"].test_run(frame)
        if verdict == XDP_REDIRECT:
            if not self._veth.deliver_frame(inner):
                self._interface_full += 1
        elif verdict != XDP_DROP:
            self._too_big += 1

    # --- peers and sessions ---

    def set_peer(self, entry: PeerEntry) -> None:
        assert self._maps is not None
        slot = self._slots.slot(entry.peer)
        if slot is None:
            slot = self._new_peer(self._maps, entry)
        self._maps.set_prefixes(slot, entry.allowed_ips)

    def _new_peer(self, maps: XdpMaps, entry: PeerEntry) -> int:
        slot, adopted = self._slots.claim(entry.peer, entry.public_key)
        if not adopted:
            maps.add_peer(slot, entry.public_key)
            maps.set_endpoint(slot, entry.path)
            return slot
        maps.adopt_peer(slot)
        path = maps.endpoint(slot)
        if path is not None:
            # It may have roamed since it was configured.
            self._wake(Roamed(entry.peer, path))
        return slot

    def set_endpoint(self, peer: int, path: Path | None) -> None:
        slot = self._slots.slot(peer)
        if self._maps is not None and slot is not None:
            self._maps.set_endpoint(slot, path)

    def remove_peer(self, peer: int) -> None:
        slot = self._slots.slot(peer)
        if self._maps is not None and slot is not None:
            self._maps.remove_peer(slot)
            self._slots.release(peer)

    def install(self, session: Session) -> None:
        assert self._maps is not None
        slot = self._slots.slot(session.peer)
        assert slot is not None
        self._forget_adopted()
        self._maps.write_session(session, slot)
        self._session_peer[session.local_index] = slot
        if session.initiator:
            self._maps.set_sending(slot, session.local_index)

    def restrict(self, local_index: int) -> None:
        assert self._programs is not None
        self._stop_sending(local_index)
        frame = local_index.to_bytes(4, "little").ljust(64, b"\0")
        self._programs.programs["wg_restrict"].test_run(frame)

    def retire(self, local_index: int) -> None:
        assert self._maps is not None
        if local_index in self._session_peer:
            self._stop_sending(local_index)
            self._maps.clear_session(local_index)
            del self._session_peer[local_index]

    def _stop_sending(self, local_index: int) -> None:
        assert self._maps is not None
        slot = self._session_peer.get(local_index)
        if slot is not None and self._maps.has_peer(slot) and self._maps.sending(slot) == local_index:
            self._maps.set_sending(slot, None)

    # --- facts ---

    def collect(self) -> list[Traffic]:
        if self._maps is None:
            return []
        self._forget_adopted()
        reports = ((self._slots.peer(report.peer), report) for report in self._maps.collect())
        return [replace(report, peer=peer) for peer, report in reports if peer is not None]

    def counters(self) -> Counters:
        assert self._maps is not None and self._veth is not None
        count = self._maps.count
        drops = {(Direction.RECEIVE, name): count(which) for name, which in _RECEIVE_DROPS.items()}
        drops |= {(Direction.TRANSMIT, name): count(which) for name, which in _TRANSMIT_DROPS.items()}
        drops[Direction.RECEIVE, "interface_full"] = self._interface_full + self._veth.ring_overflows()
        drops[Direction.RECEIVE, "too_big"] = self._too_big
        steered = count(abi.Count.STEERED_ARRIVED)
        drops[Direction.RECEIVE, "cpu_queue_full"] = max(0, count(abi.Count.STEERED) - steered)
        drops[Direction.TRANSMIT, "send_failed"] = self._send_failed
        return Counters(
            {
                Direction.RECEIVE: count(abi.Count.RX_PACKETS),
                Direction.TRANSMIT: count(abi.Count.TX_PACKETS),
            },
            {Direction.RECEIVE: count(abi.Count.RX_BYTES), Direction.TRANSMIT: count(abi.Count.TX_BYTES)},
            drops,
        )

    def info(self) -> dict[str, str]:
        assert self._maps is not None
        count = self._maps.count
        modes = sorted({mode for _, mode in self._nics.values()}) or ["no NIC"]
        memory = self._maps.memory()
        facts = {
            "mode": "+".join(modes),
            "sending": "native" if self._far_mode == NATIVE else "generic (a NIC takes no redirected frames)",
            "sessions": f"room for {1 << self.slot_bits}, {self._maps.max_peers} peers",
            "memory": f"{memory / 1e6:.1f} MB of maps, {memory // self._maps.max_peers} bytes a peer",
            "steered": str(count(abi.Count.STEERED)),
            "slow_path": f"{count(abi.Count.SLOW_SEND)} sent, {count(abi.Count.STAGED)} staged",
        }
        if self._mode == GENERIC:
            facts["sending"] = "generic"
        lost = count(abi.Count.EVENTS_LOST)
        return facts | ({"events_lost": str(lost)} if lost else {})

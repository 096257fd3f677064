"""What the two pumps of the `tun` data path share: the device, the sockets, NICs, ICMP answers."""

import time

from ..protocol.actions import SendDatagram
from . import icmp
from .interface import DataDrop, DataPath, DataPathError, Direction, Guard, InterfaceSpec
from .netlink import Netlink
from .nicguard import NicGuard
from .tundev import TunDevice
from .udp import UdpSockets
from .without import without

_ICMP_PER_SECOND = 50


def boot_time() -> float:
    """CLOCK_BOOTTIME in seconds: time asleep counts for the age of a key."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class TunBase(DataPath):
    """Subclasses carry the packets of established sessions."""

    offloads = False
    """Whether the TUN device hands over and takes super-packets."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._tun: TunDevice | None = None
        self._udp: UdpSockets | None = None
        self._queues = 1
        self._without: frozenset[str] = frozenset()
        self._ifindex = 0
        self._nics: list[str] = []
        self._icmp_credit = float(_ICMP_PER_SECOND)
        self._icmp_since = 0.0
        self._nic_guard: NicGuard | None = None

    # --- life ---

    def open(self, spec: InterfaceSpec) -> None:
        self._without = without()
        self._queues = self._queue_count(spec)
        self._tun = TunDevice(spec.name, self.offloads, self._queues, self._without)
        try:
            self._ifindex = self._netlink.index(spec.name)
            self._netlink.set_mtu(self._ifindex, spec.mtu)
            self.guard = self._nic_guard = NicGuard(self._netlink, spec.guard, spec.mode, spec.peers)
            for nic in spec.nics:
                self.attach_nic(nic, spec.replace)
        except Exception:
            self.close()
            raise
        self.set_mtu(spec.mtu)

    def _queue_count(self, spec: InterfaceSpec) -> int:
        """How many packets are carried at a time."""
        return 1

    def close(self) -> None:
        if self._nic_guard is not None:
            self._nic_guard.close()
            self._nic_guard = None
            self.guard = Guard("closed")
        if self._udp is not None:
            self._udp.close()
            self._udp = None
        if self._tun is not None:
            self._tun.close()
            self._tun = None

    def bind(self, listen_port: int, fwmark: int) -> int:
        old = self._udp
        if old is not None and old.port == listen_port:
            # Only the mark changes: the port is ours, so it must be freed first.
            old.close()
        try:
            self._udp = UdpSockets(listen_port, fwmark, self._queues)
        except OSError:
            if old is not None and old.port == listen_port:
                self._udp = UdpSockets(listen_port, 0, self._queues)
            raise
        if old is not None:
            old.close()
        if self._nic_guard is not None:
            self._nic_guard.set_port(self._udp.port)
        return self._udp.port

    def attach_nic(self, nic: str, replace: bool = False) -> None:
        self._netlink.index(nic)
        if nic in self._nics:
            raise DataPathError(f"{nic} is attached already")
        if self._nic_guard is not None:
            self._nic_guard.attach(nic, replace)
        self._nics.append(nic)

    def detach_nic(self, nic: str) -> None:
        if nic not in self._nics:
            raise DataPathError(f"{nic} is not attached")
        self._nics.remove(nic)
        if self._nic_guard is not None:
            self._nic_guard.detach(nic)

    def network_changed(self) -> None:
        if self._nic_guard is not None:
            self._nic_guard.network_changed()

    @property
    def ifindex(self) -> int:
        return self._ifindex

    # --- what is not data ---

    def send(self, datagram: SendDatagram) -> None:
        self.guard.sent(datagram.data)
        if self._udp is None or not self._udp.send(datagram.data, datagram.path, datagram.ds):
            self._drop(Direction.TRANSMIT, DataDrop.SEND_FAILED)

    def refuse(self, packet: bytes) -> None:
        now = boot_time()
        earned = (now - self._icmp_since) * _ICMP_PER_SECOND
        self._icmp_credit = min(float(_ICMP_PER_SECOND), self._icmp_credit + earned)
        self._icmp_since = now
        answer = icmp.unreachable(packet) if self._icmp_credit >= 1 else None
        if answer is not None and self._tun is not None:
            self._icmp_credit -= 1
            self._tun.write(answer)

    def guard_notes(self) -> list[str]:
        """NICs that were to have a guard and have none."""
        return [] if self._nic_guard is None else self._nic_guard.notes()

    def _with_guard(self, drops: dict[tuple[Direction, str], int]) -> dict[tuple[Direction, str], int]:
        """What the guard refused before the sockets is under the same names."""
        if self._nic_guard is not None:
            for key, count in self._nic_guard.drops().items():
                drops[key] = drops.get(key, 0) + count
        return drops

    def _drop(self, direction: Direction, reason: DataDrop) -> None:
        """Count a packet that was refused here."""
        raise NotImplementedError

"""A TUN device: inner IP packets as reads and writes (Documentation/networking/tuntap.rst)."""

import errno
import fcntl
import os
import struct
from collections.abc import Set

from .interface import DataPathError, UnsupportedError

_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TUNGETIFF = 0x800454D2
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_MULTI_QUEUE = 0x0100
_TUNSETOFFLOAD = 0x400454D0
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6, _TUN_F_USO4, _TUN_F_USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
_VNET_HEADER = bytes(10)
_IFNAMSIZ = 16
_IFREQ = struct.Struct(f"{_IFNAMSIZ}sH22x")

MAX_PACKET = 65_535


class TunDevice:
    """Owns the interface: closing its descriptors removes it."""

    def __init__(
        self, name: str, offloads: bool = False, queues: int = 1, without: Set[str] = frozenset()
    ) -> None:
        """Create the interface. Raises UnsupportedError without TUN, DataPathError for other refusals.

        With `offloads`, packets carry a virtio-net header and may be super-packets, as far as the kernel
        agrees, and without what `without` names: see `tso` and `uso`. Each queue has a descriptor of its own.
        """
        self.tso = self.uso = False
        self.fds: list[int] = []
        flags = _IFF_TUN | _IFF_NO_PI | (_IFF_VNET_HDR if offloads else 0)
        flags |= _IFF_MULTI_QUEUE if queues > 1 else 0
        try:
            for _ in range(queues):
                self.fds.append(_open(name, flags))
        except DataPathError:
            self.close()
            raise
        self._header = _VNET_HEADER if offloads else b""
        if offloads and "tso" not in without:
            self._set_offloads("uso" not in without)

    @property
    def fd(self) -> int:
        """Of the first queue; -1 when closed."""
        return self.fds[0] if self.fds else -1

    def _set_offloads(self, uso: bool) -> None:
        tso = _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6
        for flags in (tso | _TUN_F_USO4 | _TUN_F_USO6, tso)[not uso :]:
            try:
                for fd in self.fds:
                    fcntl.ioctl(fd, _TUNSETOFFLOAD, flags)
            except OSError:
                continue
            self.tso, self.uso = True, flags != tso
            return

    def read(self) -> bytes | None:
        """One packet, or None when there is none. Raises OSError (EBADFD) when the device is gone."""
        try:
            return os.read(self.fd, MAX_PACKET)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:  # the interface is down
                return None
            raise

    def write(self, packet: bytes) -> bool:
        """Hand a packet to the stack; False when it does not take it (down, queue full)."""
        try:
            os.write(self.fd, self._header + packet)
        except OSError:
            return False
        return True

    def is_alive(self) -> bool:
        try:
            fcntl.ioctl(self.fd, _TUNGETIFF, bytes(_IFREQ.size))
        except OSError:
            return False
        return True

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


def _open(name: str, flags: int) -> int:
    try:
        fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UnsupportedError(f"{_DEVICE} is missing: load the tun module (modprobe tun)") from error
    except PermissionError as error:
        raise UnsupportedError(f"{_DEVICE}: permission denied: run as root (CAP_NET_ADMIN)") from error
    try:
        fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
    except OSError as error:
        os.close(fd)
        if error.errno == errno.EBUSY:
            raise DataPathError(f"interface {name} exists already: choose another --interface") from error
        if error.errno == errno.EINVAL:
            raise DataPathError(f"interface {name} exists already and is no TUN device") from error
        if error.errno == errno.EPERM:
            raise UnsupportedError("creating a TUN device needs root (CAP_NET_ADMIN)") from error
        raise DataPathError(f"creating TUN device {name}: {error.strerror}") from error
    return fd

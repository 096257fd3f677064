"""A TUN device: inner IP packets as reads and writes (Documentation/networking/tuntap.rst)."""

import errno
import fcntl
import os
import struct

from .interface import DataPathError, UnsupportedError

_DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TUNGETIFF = 0x800454D2
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_TUNSETOFFLOAD = 0x400454D0
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6, _TUN_F_USO4, _TUN_F_USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
_VNET_HEADER = bytes(10)
_IFNAMSIZ = 16
_IFREQ = struct.Struct(f"{_IFNAMSIZ}sH22x")

MAX_PACKET = 65_535


class TunDevice:
    """Owns the interface: closing the descriptor removes it."""

    def __init__(self, name: str, offloads: bool = False) -> None:
        """Create the interface. Raises UnsupportedError without TUN, DataPathError for other refusals.

        With `offloads`, packets carry a virtio-net header and may be super-packets, as far as the kernel
        agrees: see `tso` and `uso`.
        """
        self.tso = self.uso = False
        try:
            self.fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise UnsupportedError(f"{_DEVICE} is missing: load the tun module (modprobe tun)") from error
        except PermissionError as error:
            raise UnsupportedError(f"{_DEVICE}: permission denied: run as root (CAP_NET_ADMIN)") from error
        try:
            flags = _IFF_TUN | _IFF_NO_PI | (_IFF_VNET_HDR if offloads else 0)
            fcntl.ioctl(self.fd, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
        except OSError as error:
            os.close(self.fd)
            if error.errno == errno.EBUSY:
                raise DataPathError(f"interface {name} exists already: choose another --interface") from error
            if error.errno == errno.EINVAL:
                raise DataPathError(f"interface {name} exists already and is no TUN device") from error
            if error.errno == errno.EPERM:
                raise UnsupportedError("creating a TUN device needs root (CAP_NET_ADMIN)") from error
            raise DataPathError(f"creating TUN device {name}: {error.strerror}") from error
        self._header = _VNET_HEADER if offloads else b""
        if offloads:
            self._set_offloads()

    def _set_offloads(self) -> None:
        tso = _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6
        for flags in (tso | _TUN_F_USO4 | _TUN_F_USO6, tso):
            try:
                fcntl.ioctl(self.fd, _TUNSETOFFLOAD, flags)
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
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

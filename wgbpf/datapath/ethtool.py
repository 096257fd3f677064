"""Offload switches and statistics of a network interface (ethtool ioctls)."""

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_IFREQ = struct.Struct("@16sP16x")

GRO, GSO, TSO, TX_CHECKSUM = "gro", "gso", "tso", "tx"
_GET = {GRO: 0x2B, GSO: 0x23, TSO: 0x1E, TX_CHECKSUM: 0x16}
_SET = {GRO: 0x2C, GSO: 0x24, TSO: 0x1F, TX_CHECKSUM: 0x17}
_GSSET_INFO, _GSTRINGS, _GSTATS = 0x37, 0x1B, 0x1D
_SS_STATS = 1
_STRING = 32


def _ioctl(name: str, request: "array.array[int]") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        address, _ = request.buffer_info()
        fcntl.ioctl(sock, _SIOCETHTOOL, _IFREQ.pack(name.encode(), address))


def get(name: str, feature: str) -> bool:
    """Raises OSError."""
    request = array.array("I", [_GET[feature], 0])
    _ioctl(name, request)
    return bool(request[1])


def set(name: str, feature: str, on: bool) -> None:
    """Raises OSError."""
    _ioctl(name, array.array("I", [_SET[feature], on]))


def statistics(name: str) -> dict[str, int]:
    """What `ethtool -S` prints. Raises OSError."""
    info = array.array("B", struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_STATS, 0))
    _ioctl(name, info)
    count = struct.unpack_from("=I", info, 16)[0]
    strings = array.array("B", struct.pack("=III", _GSTRINGS, _SS_STATS, count) + bytes(count * _STRING))
    _ioctl(name, strings)
    values = array.array("B", struct.pack("=II", _GSTATS, count) + bytes(count * 8))
    _ioctl(name, values)
    names = (bytes(strings[12 + n * _STRING : 12 + (n + 1) * _STRING]) for n in range(count))
    numbers = struct.unpack_from(f"={count}Q", values, 8)
    return {n.split(b"\0")[0].decode(): number for n, number in zip(names, numbers, strict=True)}

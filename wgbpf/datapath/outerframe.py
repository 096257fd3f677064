"""The Ethernet frame around a datagram, as a NIC would have delivered it: food for the ingress program."""

import struct

from ..protocol.addresses import Path
from .icmp import checksum

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_UDP = struct.Struct(">HHHH")
_MACS = bytes(12)
_TTL = 64


def outer_frame(datagram: bytes, path: Path, our_port: int, ds: int) -> bytes | None:
    """None when the address that it arrived on is not known, or it is too long for one packet."""
    if path.local is None or len(datagram) + _UDP.size + _IPV4.size > 0xFFFF:
        return None
    source, target = path.remote.address.packed, path.local.address.packed
    length = _UDP.size + len(datagram)
    udp = _UDP.pack(path.remote.port, our_port, length, 0) + datagram
    if len(source) == 4:
        head = _IPV4.pack(0x45, ds, _IPV4.size + length, 0, 0, _TTL, 17, 0, source, target)
        head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
        return _MACS + b"\x08\x00" + head + udp
    head = _IPV6.pack(6 << 28 | ds << 20, length, 17, _TTL, source, target)
    return _MACS + b"\x86\xdd" + head + udp

"""Inner packets: what of their headers WireGuard looks at, padding, and ECN through the tunnel."""

from .constants import PADDING_MULTIPLE
from .drops import Drop, Rejected

_IPV4_HEADER = 20
_IPV6_HEADER = 40

_ECN = 0b11
_NOT_ECT, _ECT1, _ECT0, _CE = range(4)


def source(packet: bytes) -> bytes:
    """Raw source address of a checked packet."""
    return packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]


def destination(packet: bytes) -> bytes:
    """Raw destination address; raises Rejected when the packet is no IP packet."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= _IPV4_HEADER:
        return packet[16:20]
    if version == 6 and len(packet) >= _IPV6_HEADER:
        return packet[24:40]
    raise Rejected(Drop.BAD_INNER_PACKET)


def trim(plain: bytes) -> bytes:
    """Cut the padding off an opened packet; raises Rejected when its header does not fit it."""
    version = plain[0] >> 4
    if version == 4 and len(plain) >= _IPV4_HEADER:
        length = int.from_bytes(plain[2:4], "big")
        least = _IPV4_HEADER
    elif version == 6 and len(plain) >= _IPV6_HEADER:
        length = int.from_bytes(plain[4:6], "big") + _IPV6_HEADER
        least = _IPV6_HEADER
    else:
        raise Rejected(Drop.BAD_INNER_PACKET)
    if not least <= length <= len(plain):
        raise Rejected(Drop.BAD_INNER_PACKET)
    return plain[:length]


def padding(length: int, mtu: int) -> int:
    """Zero bytes to append: up to a multiple of 16, never past the MTU (0: MTU unknown)."""
    if mtu == 0:
        return -length % PADDING_MULTIPLE
    last = length if length <= mtu else length % mtu
    return min(mtu, last + -last % PADDING_MULTIPLE) - last


def ds_byte(packet: bytes) -> int:
    if packet[0] >> 4 == 4:
        return packet[1]
    return (packet[0] << 4 | packet[1] >> 4) & 0xFF


def encapsulated_ds(packet: bytes) -> int:
    """Outer DS byte of a data packet: DSCP 0, ECN copied (RFC 6040, 4.1, normal mode)."""
    return ds_byte(packet) & _ECN


def decapsulate_ecn(packet: bytes, outer_ds: int) -> bytes | None:
    """The packet with the ECN field of RFC 6040, figure 4; None where that says drop."""
    outer, inner = outer_ds & _ECN, ds_byte(packet) & _ECN
    if outer == _CE:
        if inner == _NOT_ECT:
            return None
        return _with_ecn(packet, _CE)
    if outer == _ECT1 and inner == _ECT0:
        return _with_ecn(packet, _ECT1)
    return packet


def _with_ecn(packet: bytes, ecn: int) -> bytes:
    out = bytearray(packet)
    if packet[0] >> 4 == 6:
        out[1] = (out[1] & ~(_ECN << 4) & 0xFF) | ecn << 4
        return bytes(out)
    before = int.from_bytes(out[0:2], "big")
    out[1] = (out[1] & ~_ECN & 0xFF) | ecn
    after = int.from_bytes(out[0:2], "big")
    # RFC 1624: HC' = ~(~HC + ~m + m')
    total = (~int.from_bytes(out[10:12], "big") & 0xFFFF) + (~before & 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    out[10:12] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(out)

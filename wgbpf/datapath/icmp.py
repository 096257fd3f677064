"""ICMP answers to the senders of inner packets that go nowhere (RFC 792, RFC 4443)."""

import struct

_IPV4_UNREACHABLE_HOST = (3, 1)
_IPV6_UNREACHABLE_ADDRESS = (1, 3)
_ICMPV4, _ICMPV6 = 1, 58
_IPV4_QUOTE = 28
_IPV6_QUOTE = 1280 - 40 - 8
_HOP_LIMIT = 64


def checksum(*parts: bytes) -> int:
    """The Internet checksum (RFC 1071) of the parts put together, each of even length but the last."""
    data = b"".join(parts)
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def unreachable(packet: bytes) -> bytes | None:
    """Host (address) unreachable for an inner packet, sent in the name of its destination.

    None where no answer is due: to ICMP errors, multicast, fragments other than the first, and packets
    without a usable source (RFC 1122, 3.2.2; RFC 4443, 2.4).
    """
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return _unreachable4(packet)
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        return _unreachable6(packet)
    return None


def _unreachable4(packet: bytes) -> bytes | None:
    header = (packet[0] & 0xF) * 4
    source, destination = packet[12:16], packet[16:20]
    if header < 20 or source[0] >= 224 or source == bytes(4) or destination[0] >= 224:
        return None
    if int.from_bytes(packet[6:8], "big") & 0x1FFF:
        return None
    if packet[9] == _ICMPV4 and packet[header : header + 1] not in (b"\x08", b"\x00", b"\x0d", b"\x0f"):
        return None
    kind, code = _IPV4_UNREACHABLE_HOST
    quote = packet[: header + 8] if header > 20 else packet[:_IPV4_QUOTE]
    message = struct.pack(">BBHI", kind, code, 0, 0) + quote
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(message), 0, 0, _HOP_LIMIT, _ICMPV4, 0, destination, source
    )
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + message


def _unreachable6(packet: bytes) -> bytes | None:
    source, destination = packet[8:24], packet[24:40]
    if source[0] == 0xFF or source == bytes(16) or destination[0] == 0xFF:
        return None
    if packet[6] == _ICMPV6 and (len(packet) < 41 or packet[40] < 128):
        return None
    kind, code = _IPV6_UNREACHABLE_ADDRESS
    message = struct.pack(">BBHI", kind, code, 0, 0) + packet[:_IPV6_QUOTE]
    pseudo = destination + source + struct.pack(">I3xB", len(message), _ICMPV6)
    message = message[:2] + checksum(pseudo, message).to_bytes(2, "big") + message[4:]
    head = struct.pack(">IHBB16s16s", 6 << 28, len(message), _ICMPV6, _HOP_LIMIT, destination, source)
    return head + message

"""Slow and plain: packets, their checksums, and what segmenting a super-packet means."""

import struct
from dataclasses import dataclass

TCP, UDP = 6, 17
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80
NEEDS_CSUM = 1
GSO = {(TCP, 4): 1, (TCP, 6): 4, (UDP, 4): 5, (UDP, 6): 5}


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Packet:
    """One IPv4 or IPv6 packet of TCP or UDP."""

    payload: bytes
    version: int = 4
    proto: int = TCP
    source: bytes = b"\x0a\0\0\x01"
    target: bytes = b"\x0a\0\0\x02"
    ports: tuple[int, int] = (1000, 2000)
    seq: int = 1
    ack: int = 7
    flags: int = ACK
    window: int = 512
    urgent: int = 0
    options: bytes = b""
    ident: int = 1
    tos: int = 0
    ttl: int = 64
    extension: bytes = b""
    """IPv6 only: a hop-by-hop header."""
    udp_checksum: bool = True

    def transport(self) -> bytes:
        if self.proto == TCP:
            offset = (20 + len(self.options)) // 4 << 4
            head = struct.pack(
                ">HHIIBBHHH",
                *self.ports,
                self.seq & 0xFFFFFFFF,
                self.ack,
                offset,
                self.flags,
                self.window,
                0,
                self.urgent,
            )
            return head + self.options + self.payload
        return struct.pack(">HHHH", *self.ports, 8 + len(self.payload), 0) + self.payload

    def pseudo(self, length: int) -> bytes:
        return self._source() + self._target() + struct.pack(">IHBB", length, 0, 0, self.proto)

    def _source(self) -> bytes:
        return self.source if self.version == 4 else self.source.rjust(16, b"\xfd")

    def _target(self) -> bytes:
        return self.target if self.version == 4 else self.target.rjust(16, b"\xfd")

    def ip(self, length: int) -> bytes:
        if self.version == 4:
            head = struct.pack(
                ">BBHHHBBH", 0x45, self.tos, 20 + length, self.ident & 0xFFFF, 0x4000, self.ttl, self.proto, 0
            )
            head += self._source() + self._target()
            return head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
        following = 0 if self.extension else self.proto
        size = len(self.extension) + length
        first = 6 << 28 | self.tos << 20
        return (
            struct.pack(">IHBB", first, size, following, self.ttl)
            + self._source()
            + self._target()
            + self.extension
        )

    def bytes(self) -> bytes:
        body = self.transport()
        at = 16 if self.proto == TCP else 6
        value = checksum(self.pseudo(len(body)) + body)
        if self.proto == UDP:
            value = (value or 0xFFFF) if self.udp_checksum else 0
        return self.ip(len(body)) + body[:at] + value.to_bytes(2, "big") + body[at + 2 :]

    def start(self) -> int:
        """Offset of the transport header."""
        return 20 if self.version == 4 else 40 + len(self.extension)


def partial(packet: Packet) -> bytes:
    """As the stack hands it over: the checksum field holds the sum of the pseudo header only."""
    raw = packet.bytes()
    at = packet.start() + (16 if packet.proto == TCP else 6)
    value = ~checksum(packet.pseudo(len(raw) - packet.start())) & 0xFFFF
    return raw[:at] + value.to_bytes(2, "big") + raw[at + 2 :]


def vnet(packet: Packet, mss: int = 0) -> bytes:
    """The virtio-net header of a packet with a partial checksum; with `mss` it is a super-packet."""
    offset = 16 if packet.proto == TCP else 6
    header = packet.start() + (20 + len(packet.options) if packet.proto == TCP else 8)
    kind = GSO[packet.proto, packet.version] if mss else 0
    return struct.pack("<BBHHHH", NEEDS_CSUM, kind, header, mss, packet.start(), offset)


def segments(packet: Packet, mss: int) -> list[bytes]:
    """What goes on the wire for a super-packet."""
    from dataclasses import replace

    pieces = [packet.payload[n : n + mss] for n in range(0, len(packet.payload), mss)] or [b""]
    out = []
    for n, piece in enumerate(pieces):
        flags = packet.flags
        if n:
            flags &= ~CWR
        if n < len(pieces) - 1:
            flags &= ~(FIN | PSH)
        out.append(
            replace(
                packet, payload=piece, seq=packet.seq + n * mss, ident=packet.ident + n, flags=flags
            ).bytes()
        )
    return out


def cut(raw: bytes) -> list[bytes]:
    """The packets in what was written to a TUN: virtio-net header and packet. The stack's part, in Python."""
    flags, kind, header, mss, start, offset = struct.unpack("<BBHHHH", raw[:10])
    data = raw[10:]
    if not kind:
        return [data]
    assert flags == NEEDS_CSUM
    version, proto = data[0] >> 4, TCP if offset == 16 else UDP
    assert kind == GSO[proto, version]
    payload = data[header:]
    out = []
    total = -(-len(payload) // mss)
    for n in range(total):
        piece = payload[n * mss : (n + 1) * mss]
        head = bytearray(data[:header])
        size = header + len(piece)
        if version == 4:
            head[2:4] = size.to_bytes(2, "big")
            head[4:6] = ((int.from_bytes(head[4:6], "big") + n) & 0xFFFF).to_bytes(2, "big")
            head[10:12] = bytes(2)
            head[10:12] = checksum(bytes(head[:20])).to_bytes(2, "big")
            pseudo = bytes(head[12:20])
        else:
            head[4:6] = (size - 40).to_bytes(2, "big")
            pseudo = bytes(head[8:40])
        if proto == TCP:
            seq = (int.from_bytes(head[start + 4 : start + 8], "big") + n * mss) & 0xFFFFFFFF
            head[start + 4 : start + 8] = seq.to_bytes(4, "big")
            if n < total - 1:
                head[start + 13] &= ~(FIN | PSH) & 0xFF
        else:
            head[start + 4 : start + 6] = (size - start).to_bytes(2, "big")
        head[start + offset : start + offset + 2] = bytes(2)
        body = bytes(head[start:]) + piece
        value = checksum(pseudo + struct.pack(">IHBB", len(body), 0, 0, proto) + body)
        head[start + offset : start + offset + 2] = (value or (0xFFFF if proto == UDP else 0)).to_bytes(
            2, "big"
        )
        out.append(bytes(head) + piece)
    return out

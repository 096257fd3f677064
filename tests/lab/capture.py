"""What tcpdump sees on a tunnel interface, put together again: streams and datagrams."""

import re
import signal
import struct
from dataclasses import dataclass, field
from pathlib import Path

from .lab import Host, wait_until

_TCP, _UDP = 6, 17
_SYN = 0x02


@dataclass
class Stream:
    """One direction of a TCP connection: what was sent, by sequence number, and the flags that were seen."""

    payload: dict[int, bytes] = field(default_factory=dict)
    flags: set[int] = field(default_factory=set)
    options: set[tuple[int, ...]] = field(default_factory=set)

    def bytes(self) -> bytes:
        """All payload in order; equal pieces that came twice count once."""
        out = bytearray()
        start = min(self.payload, default=0)
        for seq, piece in sorted(self.payload.items()):
            at = seq - start
            assert at <= len(out), f"a gap before {seq}"
            assert out[at : at + len(piece)] == piece[: len(out) - at], f"other bytes at {seq}"
            out += piece[len(out) - at :]
        return bytes(out)


@dataclass
class Seen:
    streams: dict[bytes, Stream] = field(default_factory=dict)
    datagrams: dict[bytes, bytearray] = field(default_factory=dict)
    """Payload of all datagrams of a flow: joined ones do not tell where one ends."""


class Capture:
    def __init__(self, host: Host, interface: str, path: Path) -> None:
        self._path = path
        command = f"tcpdump -i {interface} --immediate-mode -s 0 -B 65536 -U -Z root -w {path} tcp or udp"
        self._process = host.start(command)
        wait_until(lambda: "listening" in self._process.output, 10, "tcpdump listens")

    def stop(self) -> Seen | None:
        """None when tcpdump could not follow: then it cannot tell who lost something."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        lost = re.search(r"(\d+) packets dropped by kernel", self._process.output)
        assert lost is not None, self._process.output
        return read(self._path.read_bytes()) if lost[1] == "0" else None


def read(pcap: bytes) -> Seen:
    """Packets without a link header, of a machine of this byte order."""
    seen, at = Seen(), 24
    while at < len(pcap):
        size = struct.unpack_from("=I", pcap, at + 8)[0]
        _packet(pcap[at + 16 : at + 16 + size], seen)
        at += 16 + size
    return seen


def _packet(packet: bytes, seen: Seen) -> None:
    if packet[0] >> 4 == 4:
        start, proto, hosts = (packet[0] & 15) * 4, packet[9], packet[12:20]
        packet = packet[: int.from_bytes(packet[2:4], "big") or len(packet)]
    else:
        start, proto, hosts = 40, packet[6], packet[8:40]
    segment = packet[start:]
    if proto == _UDP:
        seen.datagrams.setdefault(hosts + segment[:4], bytearray()).extend(segment[8:])
    elif proto == _TCP:
        header = (segment[12] >> 4) * 4
        stream = seen.streams.setdefault(hosts + segment[:4], Stream())
        seq, flags = int.from_bytes(segment[4:8], "big"), segment[13]
        stream.flags.add(flags & ~0x18)  # how pieces are joined may move PSH and ACK
        stream.options.add(_kinds(segment[20:header]))
        if len(segment) > header:
            seen_before = stream.payload.get(seq + (flags & _SYN != 0), b"")
            if len(seen_before) < len(segment) - header:
                stream.payload[seq + (flags & _SYN != 0)] = segment[header:]


def _kinds(options: bytes) -> tuple[int, ...]:
    out, at = [], 0
    while at < len(options) and options[at]:
        out.append(options[at])
        at += 1 if options[at] == 1 else options[at + 1]
    return tuple(out)

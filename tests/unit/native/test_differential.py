"""The same random traffic through the native pump and the one in Python: the same packets, the same reasons."""

import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network
from typing import Any, cast

import pytest

from wgbpf.datapath.interface import Direction
from wgbpf.datapath.netlink import Netlink
from wgbpf.datapath.tun import TunDataPath
from wgbpf.protocol.actions import PeerEntry, Session
from wgbpf.protocol.addresses import Endpoint, Path
from wgbpf.protocol.crypto import Secret

from .pumpbench import K1, K2, NS, OURS, THEIRS, Bench, boot_ns
from .reference import ACK, PSH, TCP, UDP, Packet, cut

_PATH = Path(Endpoint(IPv4Address("127.0.0.1"), 9), None)


@dataclass
class _Tun:
    """What the Python pump takes for its TUN device."""

    fd: int = 0
    inside: list[bytes] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)

    def read(self) -> bytes | None:
        return self.inside.pop(0) if self.inside else None

    def write(self, packet: bytes) -> bool:
        self.written.append(packet)
        return True


@dataclass
class _Udp:
    """Its sockets."""

    arrived: list[tuple[bytes, Path, int]] = field(default_factory=list)
    sent: list[tuple[bytes, int]] = field(default_factory=list)

    def receive(self, fd: int, limit: int) -> Iterator[tuple[bytes, Path, int]]:
        while self.arrived:
            yield self.arrived.pop(0)

    def send(self, data: bytes, path: Path, ds: int = 0) -> bool:
        self.sent.append((data, ds))
        return True


@pytest.fixture
def python() -> tuple[TunDataPath, _Tun, _Udp]:
    """Peer 3 as in the bench, with the same session; prefixes as `narrow` gives them to the bench."""
    pump, tun, udp = TunDataPath(cast(Netlink, None)), _Tun(), _Udp()
    pump._tun, pump._udp = cast(Any, tun), cast(Any, udp)
    pump.set_mtu(1420)
    allowed = tuple(ip_network(text) for text in ("10.0.0.0/24", "fd00::/8"))
    pump.set_peer(PeerEntry(3, _PATH, allowed, bytes(32)))
    pump.install(Session(3, OURS, THEIRS, Secret(K1), Secret(K2), boot_ns() / NS, initiator=True))
    return pump, tun, udp


def _narrow(bench: Bench) -> None:
    bench.pump.remove(bytes(4), 0)
    bench.pump.remove(bytes(16), 0)
    bench.pump.insert(b"\x0a\0\0\0", 24, 3)
    bench.pump.insert(b"\xfd" + bytes(15), 8, 3)
    for sock in (bench.ours, bench.net):
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)


def _inner(rand: random.Random) -> bytes:
    """A packet that is right, nearly right, or none."""
    version = rand.choice((4, 4, 6))
    packet = Packet(
        rand.randbytes(rand.choice((0, 1, 40, 511, rand.randrange(1300)))),
        version,
        rand.choice((TCP, UDP)),
        flags=ACK | rand.choice((0, PSH)),
        tos=rand.choice((0, 0, 1, 2, 3, 0xB8, 0xBA)),
        source=rand.choice((b"\x0a\0\0\x01", b"\x0a\0\0\x01", b"\x0a\1\0\x01")),
    )
    if version == 6 and rand.random() < 0.3:
        packet = replace(packet, extension=bytes([packet.proto]) + b"\0\1\4\0\0\0\0")
    raw = packet.bytes()
    match rand.randrange(14):
        case 0:
            at = rand.randrange(min(40, len(raw)))
            return raw[:at] + bytes([raw[at] ^ 1 << rand.randrange(8)]) + raw[at + 1 :]
        case 1:
            return raw[: rand.randrange(len(raw) + 1)]
        case 2:
            return raw + bytes(rand.randrange(1, 20))
        case 3:
            return rand.randbytes(rand.randrange(60))
        case 4:
            return b""
        case _:
            return raw


def _message(rand: random.Random, bench: Bench, before: list[bytes]) -> bytes:
    message = bench.far.seal(_inner(rand), 1420)
    before.append(message)
    match rand.randrange(16):
        case 0:
            at = rand.randrange(4, len(message))
            return message[:at] + bytes([message[at] ^ 1 << rand.randrange(8)]) + message[at + 1 :]
        case 1:
            return message[: rand.randrange(4, len(message))]
        case 2:
            return rand.choice(before)
        case 3:
            return before[max(0, len(before) - rand.randrange(1, 100))]
        case _:
            return message


def _reasons(pump: TunDataPath, way: Direction) -> dict[str, int]:
    drops = pump.counters().drops
    return {f"{way.value}_{reason}": n for (w, reason), n in drops.items() if w == way and n}


@pytest.mark.parametrize("seed", range(6))
def test_what_arrives(bench: Bench, python: tuple[TunDataPath, _Tun, _Udp], seed: int) -> None:
    _narrow(bench)
    pump, tun, udp = python
    rand = random.Random(seed)
    before: list[bytes] = []
    got: list[bytes] = []
    for _ in range(400):
        message, ds = _message(rand, bench, before), rand.choice((0, 0, 1, 2, 3, 0xB9))
        udp.arrived.append((message, _PATH, ds))
        pump._from_udp(0, time.clock_gettime(time.CLOCK_BOOTTIME))
        bench.net.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, ds)
        bench.net.sendto(message, bench.ours.getsockname())
        if rand.random() < 0.1:
            got += [packet for raw in bench.from_tun(0.02, 0.02) for packet in cut(raw)]
    got += [packet for raw in bench.from_tun() for packet in cut(raw)]

    def flow(packet: bytes) -> bytes:
        """Order holds within a flow only: bundles of several are open at a time."""
        return packet[9:10] + packet[12:24] if packet[0] >> 4 == 4 else packet[6:7] + packet[8:44]

    assert sorted(got) == sorted(tun.written)
    for key in {flow(packet) for packet in got}:
        assert [p for p in got if flow(p) == key] == [p for p in tun.written if flow(p) == key]
    counts, counters = bench.counts(), pump.counters()
    assert {k: n for k, n in counts.items() if k.startswith("receive_")} == _reasons(pump, Direction.RECEIVE)
    assert counts["rx_packets"] == counters.packets[Direction.RECEIVE]
    assert counts["rx_bytes"] == counters.bytes[Direction.RECEIVE]
    (native,), (plain,) = bench.pump.collect(), pump.collect()
    assert (native[1], native[3]) == (plain.rx_bytes, plain.rx_packets)


@pytest.mark.parametrize("seed", range(6))
def test_what_leaves(bench: Bench, python: tuple[TunDataPath, _Tun, _Udp], seed: int) -> None:
    _narrow(bench)
    pump, tun, udp = python
    pump.refuse = lambda packet: None  # type: ignore[method-assign]  # the bench has no controller to do it
    rand = random.Random(seed)
    got: list[tuple[bytes, int]] = []
    for _ in range(400):
        packet = _inner(rand) or b"\0"
        tun.inside.append(packet)
        pump._from_tun(time.clock_gettime(time.CLOCK_BOOTTIME))
        bench.tun.send(bytes(10) + packet)
        while len(got) < len(udp.sent):
            data, ancillary, _, _ = bench.net.recvmsg(65_535, 100)
            got.append((data, ancillary[0][2][0]))
    bench.net.settimeout(0.2)
    with pytest.raises(TimeoutError):
        bench.net.recv(1)
    # Nonces and keys are the same, so the very bytes are.
    assert got == udp.sent
    counts, counters = bench.counts(), pump.counters()
    reasons = {k: n for k, n in counts.items() if k.startswith("transmit_")}
    assert reasons == _reasons(pump, Direction.TRANSMIT)
    assert counts["tx_packets"] == counters.packets[Direction.TRANSMIT]
    assert counts["tx_bytes"] == counters.bytes[Direction.TRANSMIT]

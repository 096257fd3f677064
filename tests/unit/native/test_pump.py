"""The native pump against plain Python, packet by packet: a socket pair plays the TUN, loopback the network."""

import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from wgbpf.protocol.crypto import Secret
from wgbpf.protocol.keypairs import Keypair
from wgbpf.protocol.noise import TransportKeys

from .reference import ACK, CWR, FIN, PSH, TCP, UDP, Packet, cut, partial, segments, vnet

native = pytest.importorskip("wgbpf.native._pump", reason="the native pump is not built (make setup)")

OURS, THEIRS = 0x11223344, 0x55667788
K1, K2 = bytes(range(32)), bytes(range(32, 64))
NS = 1_000_000_000


def boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass
class Bench:
    """A pump with one peer (number 3, everything allowed) and a session; `far` is the peer's end of it."""

    pump: "native.Pump"
    tuns: list[socket.socket]
    net: socket.socket
    sockets: list[socket.socket]
    far: Keypair

    @property
    def tun(self) -> socket.socket:
        return self.tuns[0]

    @property
    def ours(self) -> socket.socket:
        return self.sockets[0]

    def messages(self, count: int, timeout: float = 2.0) -> list[bytes]:
        """Datagrams that the peer gets."""
        out: list[bytes] = []
        self.net.settimeout(timeout)
        while len(out) < count:
            try:
                out.append(self.net.recv(65535))
            except TimeoutError:
                break
        return out

    def from_wire(self, count: int = 1, timeout: float = 2.0) -> list[bytes]:
        """Inner packets that the peer gets."""
        now = boot_ns() / NS
        return [
            self.far.open(int.from_bytes(data[8:16], "little"), data[16:], now)
            for data in self.messages(count, timeout)
        ]

    def to_wire(self, packet: bytes, mtu: int = 1420) -> None:
        self.net.sendto(self.far.seal(packet, mtu), self.ours.getsockname())

    def to_wire_at_once(self, packets: list[bytes]) -> None:
        """Packets of one size, as one datagram of GRO."""
        sealed = [self.far.seal(packet, 1420) for packet in packets]
        segment = (socket.IPPROTO_UDP, 103, len(sealed[0]).to_bytes(2, sys.byteorder))  # UDP_SEGMENT
        self.net.sendmsg([b"".join(sealed)], [segment], 0, self.ours.getsockname())

    def from_tun(self, timeout: float = 0.3, tun: socket.socket | None = None) -> list[bytes]:
        """Everything that is written to the TUN until it is quiet."""
        out = []
        while select.select([tun or self.tun], [], [], timeout)[0]:
            out.append((tun or self.tun).recv(70_000))
            timeout = 0.05
        return out

    def events(self) -> list[tuple[int, int, bytes]]:
        found = []
        select.select([self.pump.event_fd], [], [], 1)
        while (taken := self.pump.take()) is not None:
            found.append(taken[:3])
        return found

    def counts(self) -> dict[str, int]:
        from wgbpf.datapath.tun_native import DROPS

        names = [
            "rx_packets",
            "rx_bytes",
            "tx_packets",
            "tx_bytes",
            *(f"{w.value}_{r.value}" for w, r in DROPS),
        ]
        return {name: n for name, n in zip(names, self.pump.counts(), strict=False) if n}


@contextmanager
def benches(queues: int = 1, crypto: str | None = None) -> Iterator[Bench]:
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(queues)]
    for tun, inside in pairs:
        for end in (tun, inside):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        inside.setblocking(False)
    *ours, net = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(queues + 1))
    for sock in (*ours, net):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.IPPROTO_UDP, 104, sock is not net)  # UDP_GRO
    pump = native.Pump(tuple(inside.fileno() for _, inside in pairs), True, True, crypto)
    pump.add_peer(3)
    pump.set_endpoint(3, b"\x7f\0\0\x01", net.getsockname()[1], 0, b"", 0)
    pump.insert(bytes(4), 0, 3)
    pump.insert(bytes(16), 0, 3)
    pump.install(3, OURS, THEIRS, K1, K2, boot_ns(), True)
    pump.start(tuple((sock.fileno(), -1) for sock in ours), True, True)
    far = Keypair(TransportKeys(Secret(K2), Secret(K1), THEIRS, OURS, False), boot_ns() / NS)
    yield Bench(pump, [tun for tun, _ in pairs], net, ours, far)
    pump.stop()
    for sock in (*(end for pair in pairs for end in pair), *ours, net):
        sock.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with benches() as made:
        yield made


def _trim(plain: bytes) -> bytes:
    size = int.from_bytes(plain[2:4], "big") if plain[0] >> 4 == 4 else int.from_bytes(plain[4:6], "big") + 40
    assert not any(plain[size:])
    return plain[:size]


SUPER = [
    pytest.param(
        Packet(random.Random(1).randbytes(size), version=v, proto=p, flags=f, options=o, extension=x),
        mss,
        id=f"v{v}-{p}-{size}-{mss}",
    )
    for v in (4, 6)
    for p, f, o, x in (
        (TCP, ACK | PSH | FIN | CWR, b"\1\1\x08\x0a" + bytes(8), b""),
        (TCP, ACK, b"", b"\x06\0\1\4\0\0\0\0" if v == 6 else b""),
        (UDP, 0, b"", b""),
    )
    for size, mss in (
        (1, 1),
        (1400, 700),
        (4000, 1368),
        (60_000, 1368),
        (65_000 if v == 4 else 64_000, 1460),
        (777, 1000),
    )
]


@pytest.mark.parametrize(("packet", "mss"), SUPER)
def test_a_super_packet_is_sent_as_the_stack_would_have_cut_it(
    bench: Bench, packet: Packet, mss: int
) -> None:
    bench.tun.send(vnet(packet, mss) + partial(packet))
    expected = segments(packet, mss)
    got = [_trim(plain) for plain in bench.from_wire(len(expected))]
    assert got == expected
    assert bench.counts()["tx_packets"] == len(expected)


@pytest.mark.parametrize("proto", [TCP, UDP])
@pytest.mark.parametrize("version", [4, 6])
def test_a_partial_checksum_is_completed(bench: Bench, version: int, proto: int) -> None:
    for size in (0, 1, 15, 16, 100, 1380):
        packet = Packet(b"x" * size, version=version, proto=proto)
        bench.tun.send(vnet(packet) + partial(packet))
        assert [_trim(p) for p in bench.from_wire()] == [packet.bytes()]


def test_what_cannot_be_a_super_packet_is_refused_by_name(bench: Bench) -> None:
    whole = partial(Packet(b"x" * 3000))
    for header in (
        b"\1\1\x36\0\0\0\x14\0\x10\0",
        b"\1\1\x36\0\x64\0\xff\xff\x10\0",
        b"\1\x07\x36\0\x64\0\x14\0\x10\0",
    ):
        bench.tun.send(header + whole)
    bench.tun.send(bytes(10) + b"\x99nonsense")
    assert bench.from_wire(1, 0.3) == []
    assert bench.counts() == {"transmit_bad_inner_packet": 4}


def _flow(rand: random.Random) -> list[Packet]:
    """A run of packets of one flow, most of which may be joined."""
    version, proto = rand.choice((4, 6)), rand.choice((TCP, TCP, UDP))
    mss = rand.choice((1, 8, 100, 536, 1368))
    packet = Packet(
        b"", version, proto, ports=(rand.randrange(1, 4), 80), seq=rand.choice((1, 2**32 - 2000)), ident=rand.choice((1, 65_530)),
        options=rand.choice((b"", b"\1\1\x08\x0a" + bytes(8))) if proto == TCP else b"",
    )  # fmt: skip
    out = []
    for _ in range(rand.randrange(1, 90)):
        size = mss if rand.random() < 0.93 else rand.randrange(0, mss + 1)
        packet = replace(
            packet, payload=rand.randbytes(size), flags=ACK | (PSH if rand.random() < 0.03 else 0)
        )
        match rand.randrange(60):
            case 0:
                packet = replace(packet, tos=rand.choice((0, 2, 0xB8)))
            case 1:
                packet = replace(
                    packet, flags=rand.choice((ACK | FIN, ACK | CWR, 0x02, ACK | 0x40, ACK | 0x20))
                )
            case 2:
                packet = replace(packet, ack=packet.ack + 1)
            case 3:
                packet = replace(packet, seq=packet.seq + 5)
            case 4:
                packet = replace(packet, ident=packet.ident + 3)
            case 5 if proto == UDP and version == 4:
                packet = replace(packet, udp_checksum=False)
            case 6:
                packet = replace(packet, ttl=packet.ttl - 1)
            case 7 if version == 6:
                packet = replace(packet, extension=bytes([proto]) + b"\0\1\4\0\0\0\0")
        out.append(packet)
        packet = replace(
            packet, seq=packet.seq + size, ident=packet.ident + 1, extension=b"", udp_checksum=True
        )
    return out


@pytest.mark.parametrize("seed", range(40))
def test_joined_packets_come_apart_as_they_came_in_byte_for_byte_and_in_order(
    bench: Bench, seed: int
) -> None:
    rand = random.Random(seed)
    flows = [_flow(rand) for _ in range(3)]
    sent: list[bytes] = []
    while any(flows):
        flow = rand.choice([f for f in flows if f])
        for packet in [flow.pop(0) for _ in range(min(len(flow), rand.randrange(1, 30)))]:
            raw = packet.bytes()
            if rand.random() < 0.02:
                raw = raw[:-1] + bytes([raw[-1] ^ 1])  # a checksum that is wrong stays wrong
            sent.append(raw)
            bench.to_wire(raw)
    written = bench.from_tun()
    got = [packet for raw in written for packet in cut(raw)]

    def by_flow(packets: list[bytes]) -> dict[bytes, list[bytes]]:
        flows: dict[bytes, list[bytes]] = {}
        for p in packets:
            at = 20 if p[0] >> 4 == 4 else 40 + (8 if p[6] == 0 else 0)
            flows.setdefault(
                p[:1]
                + (p[9:10] if p[0] >> 4 == 4 else bytes([TCP if p[6] in (0, TCP) else UDP]))
                + p[at : at + 4],
                [],
            ).append(p)
        return flows

    assert by_flow(got) == by_flow(sent)
    assert len(written) <= len(sent)


def test_bulk_is_joined(bench: Bench) -> None:
    bulk = [Packet(b"x" * 1000, seq=1 + 1000 * n, ident=1 + n).bytes() for n in range(40)]
    bench.to_wire_at_once(bulk)
    assert len(bench.from_tun()) == 1


def test_forged_replayed_late_and_foreign_packets_are_refused_by_name(bench: Bench) -> None:
    good = bench.far.seal(Packet(b"hello").bytes(), 1420)
    address = bench.ours.getsockname()
    for data in (good, good, good[:-1] + bytes([good[-1] ^ 1]), good[:31], b"\4\0\0\0\1\2\3\4" + good[8:]):
        bench.net.sendto(data, address)
    bench.to_wire(b"\x45\0\0\x10nonsense" * 4)
    time.sleep(0.2)
    bench.pump.remove(bytes(4), 0)
    bench.to_wire(Packet(b"who?").bytes())
    assert [cut(raw) for raw in bench.from_tun()] == [[Packet(b"hello").bytes()]]
    time.sleep(0.1)
    counts = bench.counts()
    for name in ("replay", "bad_tag", "bad_length", "unknown_index", "bad_inner_packet", "forbidden_source"):
        assert counts[f"receive_{name}"] == 1, counts
    assert counts["rx_packets"] == 1


def test_a_key_of_180_seconds_is_refused_both_ways(bench: Bench) -> None:
    bench.pump.retire(OURS)
    bench.pump.install(3, OURS, THEIRS, K1, K2, boot_ns() - 180 * NS, True)
    bench.far.created = boot_ns() / NS
    bench.to_wire(Packet(b"late").bytes())
    bench.tun.send(bytes(10) + Packet(b"late").bytes())
    assert bench.from_tun() == []
    events = [e for e in bench.events() if e[0] == 1]
    assert events == [(1, 3, Packet(b"late").bytes())]
    assert bench.counts() == {"receive_key_expired": 1}


def test_what_has_no_session_or_route_goes_to_python(bench: Bench) -> None:
    bench.pump.retire(OURS)
    packet = Packet(b"x" * 2000)
    bench.tun.send(vnet(packet, 1000) + partial(packet))
    time.sleep(0.1)
    bench.pump.remove(bytes(4), 0)
    bench.tun.send(bytes(10) + Packet(b"lost").bytes())
    time.sleep(0.1)
    expected = [(1, 3, raw) for raw in segments(packet, 1000)] + [(6, 0, Packet(b"lost").bytes())]
    assert bench.events() == expected


def test_the_first_packet_under_a_responders_key_makes_it_the_one_to_send_with(bench: Bench) -> None:
    bench.pump.install(3, 99, 77, K2, K1, boot_ns(), False)
    assert bench.pump.transmit(99, b"")  # the controller may, but nothing else does
    bench.net.recv(2000)
    bench.tun.send(bytes(10) + Packet(b"old").bytes())
    assert _trim(bench.from_wire()[0]) == Packet(b"old").bytes()
    bench.events()
    bench.far = Keypair(TransportKeys(Secret(K1), Secret(K2), 77, 99, True), boot_ns() / NS)
    bench.to_wire(b"")
    time.sleep(0.1)
    assert (2, 99, b"") in bench.events()
    bench.far.window.accept(0)
    bench.tun.send(bytes(10) + Packet(b"new").bytes())
    assert _trim(bench.from_wire()[0]) == Packet(b"new").bytes()


def test_python_and_the_threads_never_use_a_counter_twice(bench: Bench) -> None:
    raw = bytes(10) + Packet(b"x").bytes()
    for _ in range(400):
        bench.tun.send(raw)
        bench.pump.transmit(OURS, b"")
    seen = []
    bench.net.settimeout(1)
    while len(seen) < 800:
        seen.append(int.from_bytes(bench.net.recv(2000)[8:16], "little"))
    assert sorted(seen) == list(range(800))


def test_two_queues_never_use_a_counter_twice() -> None:
    with benches(queues=2) as bench:
        raw = bytes(10) + Packet(b"x").bytes()
        bulk = Packet(b"y" * 4000)
        sent = 0
        for n in range(300):
            for tun in bench.tuns:
                tun.send(raw if n % 3 else vnet(bulk, 1000) + partial(bulk))
                sent += 1 if n % 3 else 4
            sent += bench.pump.transmit(OURS, b"")
        seen = [int.from_bytes(message[8:16], "little") for message in bench.messages(sent)]
        assert sorted(seen) == list(range(sent))


def test_sockets_of_two_queues_and_one_session() -> None:
    """Its messages are opened once each, whichever socket they come to, and go to that queue's TUN."""
    with benches(queues=2) as bench:
        sealed = [bench.far.seal(Packet(bytes([n])).bytes(), 1420) for n in range(100)]
        for message in sealed:
            for sock in bench.sockets:
                bench.net.sendto(message, sock.getsockname())
        got = [packet for tun in bench.tuns for raw in bench.from_tun(tun=tun) for packet in cut(raw)]
        assert sorted(got) == sorted(Packet(bytes([n])).bytes() for n in range(100))
        assert bench.counts()["receive_replay"] == 100


def test_peers_sessions_and_routes_come_and_go_beside_the_traffic(bench: Bench) -> None:
    raw = bytes(10) + Packet(b"x").bytes()
    rand = random.Random(7)
    for n in range(300):
        bench.tun.send(raw)
        bench.to_wire(Packet(b"y").bytes())
        number = rand.randrange(4, 200)
        bench.pump.add_peer(number)
        bench.pump.insert(bytes([10, number, 0, 0]), 16, number)
        bench.pump.install(number, 1000 + n, n, K1, K2, boot_ns(), rand.random() < 0.5)
        bench.pump.set_endpoint(number, bytes([127, 0, 0, 1]), 9, 0, b"", 0)
        if rand.random() < 0.5:
            bench.pump.remove(bytes([10, number, 0, 0]), 16)
            bench.pump.remove_peer(number)
        bench.pump.collect()
    assert len(bench.from_wire(300)) == 300
    assert bench.counts()["rx_packets"] == 300


def test_wrong_arguments_are_errors(bench: Bench) -> None:
    for call in (
        lambda: bench.pump.install(99, 1, 1, K1, K2, 0, True),
        lambda: bench.pump.install(3, OURS, 1, K1, K2, 0, True),
        lambda: bench.pump.install(3, 5, 1, K1[:-1], K2, 0, True),
        lambda: bench.pump.insert(b"123", 8, 3),
        lambda: bench.pump.insert(b"1234", 33, 3),
        lambda: bench.pump.set_endpoint(3, b"12345", 1, 0, b"", 0),
        lambda: bench.pump.set_endpoint(3, b"1234", 70_000, 0, b"", 0),
        lambda: bench.pump.add_peer(1 << 21),
        lambda: bench.pump.transmit(OURS, bytes(70_000)),
    ):
        with pytest.raises((ValueError, MemoryError)):
            call()

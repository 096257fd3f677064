"""Super-packets apart and together: what the native pump makes of them, against plain Python."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from .pumpbench import Bench, benches, connect, native, trim
from .reference import (
    ACK,
    CWR,
    ECE,
    FIN,
    PSH,
    RST,
    SYN,
    TCP,
    UDP,
    URG,
    Packet,
    cut,
    partial,
    segments,
    vnet,
)  # fmt: skip

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
    got = [trim(plain) for plain in bench.from_wire(len(expected))]
    assert got == expected
    assert bench.counts()["tx_packets"] == len(expected)


@pytest.mark.parametrize("proto", [TCP, UDP])
@pytest.mark.parametrize("version", [4, 6])
def test_a_partial_checksum_is_completed(bench: Bench, version: int, proto: int) -> None:
    for size in (0, 1, 15, 16, 100, 1380):
        packet = Packet(b"x" * size, version=version, proto=proto)
        bench.tun.send(vnet(packet) + partial(packet))
        assert [trim(p) for p in bench.from_wire()] == [packet.bytes()]


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


TIMESTAMP = b"\1\1\x08\x0a" + bytes(range(8))
SACK = b"\1\1\x05\x12" + bytes(range(16))
HOP_BY_HOP = b"\0\1\4\0\0\0\0"
"""Behind the number of what follows it."""


def _kinds() -> Iterator[Packet]:
    """Headers of every kind that acceptance asks for; payload and sizes come on top."""
    for version in (4, 6):
        plain = Packet(b"", version=version)
        yield plain
        for flags in (
            ACK | PSH,
            ACK | URG,
            ACK | CWR,
            ACK | ECE,
            ACK | PSH | FIN | URG | ECE | CWR,
            SYN,
            RST,
        ):
            yield replace(plain, flags=flags, urgent=7 if flags & URG else 0)
        for options in (TIMESTAMP, SACK, TIMESTAMP + SACK, bytes([1] * 40)):
            yield replace(plain, options=options, flags=ACK | PSH)
        yield replace(plain, tos=0xBB, ttl=1, seq=2**32 - 1500, ident=65_530, window=0)
        yield replace(plain, proto=UDP)
        yield replace(plain, proto=UDP, tos=0xBB)
    for proto in (TCP, UDP):
        for extension in (bytes([proto]) + HOP_BY_HOP, bytes([proto]) + b"\2" + bytes(22)):
            yield Packet(b"", version=6, proto=proto, extension=extension)


KINDS = list(_kinds())
SIZES = [
    (0, 1000),
    (1, 1000),
    (1000, 1000),
    (1001, 1000),
    (3, 1),
    (4096, 1368),
    (20_001, 777),
    (60_000, 1360),
]


def _id(packet: Packet) -> str:
    name = f"v{packet.version}-{'tcp' if packet.proto == TCP else 'udp'}-{packet.flags:02x}"
    return f"{name}-{len(packet.options)}-{len(packet.extension)}-{packet.tos:x}"


@pytest.mark.parametrize("kind", KINDS, ids=_id)
def test_what_goes_into_one_tun_comes_out_of_the_other_byte_for_byte(kind: Packet) -> None:
    """Cut and sealed by one pump, opened and joined by another, cut by the reference."""
    rand = random.Random(_id(kind))
    for size, mss in SIZES:
        packet = replace(kind, payload=rand.randbytes(size))
        with benches() as one, benches() as two:
            connect(one, two)
            expected = segments(packet, mss)
            one.tun.send(vnet(packet, mss) + partial(packet))
            written = two.from_tun()
            assert [p for raw in written for p in cut(raw)] == expected, (size, mss)
            assert two.counts()["rx_packets"] == one.counts()["tx_packets"] == len(expected)


@pytest.mark.parametrize("kind", KINDS, ids=_id)
def test_single_packets_arrive_as_they_were_sent(kind: Packet) -> None:
    rand = random.Random(_id(kind))
    packets = [replace(kind, payload=rand.randbytes(n)) for n in (0, 1, 2, 15, 16, 17, 511, 1360)]
    if kind.proto == UDP and kind.version == 4:
        packets += [replace(packet, udp_checksum=False) for packet in packets]
    with benches() as one, benches() as two:
        connect(one, two)
        for packet in packets:
            one.tun.send(
                vnet(packet) + partial(packet) if packet.udp_checksum else bytes(10) + packet.bytes()
            )
            assert [p for raw in two.from_tun(2, 0) for p in cut(raw)] == [packet.bytes()]


@pytest.mark.parametrize("crypto", native.implementations())
@pytest.mark.parametrize("other", native.implementations())
def test_every_crypto_understands_every_other(crypto: str, other: str) -> None:
    packet = Packet(random.Random(0).randbytes(50_001), options=TIMESTAMP, flags=ACK | PSH)
    with benches(crypto=crypto) as one, benches(crypto=other) as two:
        assert one.pump.crypto == crypto
        connect(one, two)
        one.tun.send(vnet(packet, 1368) + partial(packet))
        assert [p for raw in two.from_tun() for p in cut(raw)] == segments(packet, 1368)

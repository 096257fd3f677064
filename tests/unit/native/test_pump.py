"""What the native pump refuses, tells and keeps apart."""

import random
import time

import pytest

from wgbpf.protocol.crypto import Secret
from wgbpf.protocol.keypairs import Keypair
from wgbpf.protocol.noise import TransportKeys

from .pumpbench import K1, K2, NS, OURS, THEIRS, Bench, benches, boot_ns, trim
from .reference import Packet, cut, partial, segments, vnet


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
    assert trim(bench.from_wire()[0]) == Packet(b"old").bytes()
    bench.events()
    bench.far = Keypair(TransportKeys(Secret(K1), Secret(K2), 77, 99, True), boot_ns() / NS)
    bench.to_wire(b"")
    time.sleep(0.1)
    assert (2, 99, b"") in bench.events()
    bench.far.window.accept(0)
    bench.tun.send(bytes(10) + Packet(b"new").bytes())
    assert trim(bench.from_wire()[0]) == Packet(b"new").bytes()


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
    assert sum(len(cut(raw)) for raw in bench.from_tun()) == 300
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

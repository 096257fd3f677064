"""The egress program: what is sealed, under which key and counter, and what the controller gets instead."""

import random
import time

import pytest

from wgbpf.datapath import abi
from wgbpf.datapath.libbpf import XDP_DROP
from wgbpf.protocol.addresses import Path
from wgbpf.protocol.constants import REJECT_AFTER_MESSAGES

from .dataplane import PATHS, DataPlane, Keys, ipv4, ipv6, padded

PACKET = ipv4("10.0.0.1", "10.0.0.2", b"hello")
# Without a source address the stack has to route: the sealed message comes to the controller.
BY_STACK = Path(PATHS[4].remote)


def _sent(plane: DataPlane) -> list[bytes]:
    return [packet for event, packet in plane.take_events() if event.kind == abi.EventKind.SEND]


def _opened(plane: DataPlane, keys: Keys) -> bytes:
    (message,) = _sent(plane)
    return keys.open(message)


@pytest.mark.parametrize("mtu", [1420, 1421, 1280, 0])
def test_every_length_is_padded_and_sealed_as_the_core_would(plane: DataPlane, mtu: int) -> None:
    plane.peer(1, "10.0.0.2/32", "fd00::2/128", path=BY_STACK)
    plane.maps.set_control("mtu", mtu)
    keys = plane.session(1)
    for n, length in enumerate(range(1, 1501)):
        packet = (
            ipv4("10.0.0.1", "10.0.0.2", bytes(length)) if n % 2 else ipv6("::1", "fd00::2", bytes(length))
        )
        assert plane.send(packet) == XDP_DROP
        (message,) = _sent(plane)
        assert int.from_bytes(message[8:16], "little") == n
        assert keys.open(message) == padded(packet, mtu)
    assert plane.counts()["TX_PACKETS"] == plane.counts()["SLOW_SEND"] == 1500


def test_cryptokey_routing_prefers_the_longer_prefix(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.0/8", "::/0", path=BY_STACK)
    plane.peer(2, "10.1.0.0/16", "fd00::/16", path=BY_STACK)
    one, two = plane.session(1, 0x11), plane.session(2, 0x12)
    for target, keys in (
        ("10.0.0.1", one),
        ("10.1.9.9", two),
        ("10.2.0.1", one),
        ("fd00::1", two),
        ("2001::1", one),
    ):
        packet = ipv4("10.9.9.9", target) if "." in target else ipv6("::1", target)
        plane.send(packet)
        assert _opened(plane, keys) == padded(packet)
    plane.peer(1, "10.1.0.0/16", path=BY_STACK)
    plane.send(ipv4("10.9.9.9", "10.1.0.1"))
    assert _opened(plane, one) == padded(ipv4("10.9.9.9", "10.1.0.1"))
    plane.send(ipv4("10.9.9.9", "10.2.0.1"))
    assert plane.kinds() == [abi.EventKind.REFUSE]
    assert plane.counts()["TX_NO_ROUTE"] == 1


def test_without_a_session_packets_go_to_the_controller_up_to_128_a_second(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    for _ in range(200):
        assert plane.send(PACKET) == XDP_DROP
    given = plane.take_events()
    assert [packet for _, packet in given] == [PACKET] * 128
    assert plane.counts()["TX_STAGED_OVERFLOW"] == 72
    time.sleep(1.05)
    plane.send(PACKET)
    assert plane.kinds() == [abi.EventKind.STAGE]


@pytest.mark.parametrize("length", [20, 500, 512, 513, 1420, 3000])
def test_a_staged_packet_is_given_whole(plane: DataPlane, length: int) -> None:
    plane.peer(1, "10.0.0.2/32")
    packet = ipv4("10.0.0.1", "10.0.0.2", random.Random(length).randbytes(length - 20))
    plane.send(packet)
    ((event, given),) = plane.take_events()
    assert event.kind == abi.EventKind.STAGE and given == packet


def test_an_expired_or_unconfirmed_or_restricted_key_does_not_send(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32", path=BY_STACK)
    plane.session(1, age=180.0)
    plane.send(PACKET)
    plane.session(1, 0x20, initiator=False)
    plane.maps.set_sending(1, 0x20)
    plane.send(PACKET)
    keys = plane.session(1, 0x21)
    plane.programs["wg_restrict"].test_run(keys.session.local_index.to_bytes(4, "little").ljust(64, b"\0"))
    plane.send(PACKET)
    assert plane.kinds() == [abi.EventKind.STAGE] * 3
    plane.session(1, 0x22, age=179.5)
    plane.send(PACKET)
    assert plane.kinds() == [abi.EventKind.SEND]


def test_the_message_limit(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32", path=BY_STACK)
    keys = plane.session(1)
    entry = plane.maps.read_session(keys.session.local_index)
    assert entry is not None
    entry.send_counter = REJECT_AFTER_MESSAGES - 1
    plane.raw["sessions"].update((keys.session.local_index & 1023).to_bytes(4, "little"), bytes(entry))
    plane.send(PACKET)
    (message,) = _sent(plane)
    assert int.from_bytes(message[8:16], "little") == REJECT_AFTER_MESSAGES - 1
    plane.send(PACKET)
    assert plane.kinds() == [abi.EventKind.STAGE]


def test_the_controllers_frames_name_their_session(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32", path=BY_STACK)
    keys = plane.session(1)

    def control(index: int, packet: bytes) -> int:
        head = bytes(2) + index.to_bytes(4, "little") + bytes(6) + abi.CONTROL_ETHERTYPE.to_bytes(2, "big")
        return plane.send_frame(head + packet)

    control(keys.session.local_index, b"")
    assert _opened(plane, keys) == b""
    for length in (20, 21, 33, 500, 1420):
        packet = ipv4("10.0.0.1", "10.0.0.2", bytes(length - 20))
        control(keys.session.local_index, packet)
        assert _opened(plane, keys) == padded(packet)
    assert plane.counts()["TX_KEEPALIVES"] == 1
    control(0x999, b"")
    assert plane.counts()["TX_KEY_EXPIRED"] == 1


def test_what_is_no_packet(plane: DataPlane) -> None:
    plane.peer(1, "0.0.0.0/0", path=BY_STACK)
    plane.session(1)
    for bad in (
        bytes(12) + b"\x08\x06" + bytes(28),
        bytes(12) + b"\x08\0" + PACKET[:-1],
        bytes(14) + b"\x45",
    ):
        assert plane.send_frame(bad) == XDP_DROP
    assert plane.counts()["TX_BAD_INNER_PACKET"] == 3
    assert plane.counts()["TX_PACKETS"] == 0


def test_ecn_is_copied_and_nothing_else(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32", "fd00::2/128", path=BY_STACK)
    plane.session(1)
    for ecn in range(4):
        plane.send(ipv4("10.0.0.1", "10.0.0.2", ecn=0xB8 | ecn))
        plane.send(ipv6("::1", "fd00::2", ecn=0xB8 | ecn))
        assert [event.ds for event, _ in plane.take_events() if event.kind == abi.EventKind.SEND] == [
            ecn,
            ecn,
        ]


def test_stamps_and_the_wake_up(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32", path=BY_STACK)
    keys = plane.session(1)
    plane.send(PACKET)
    first = plane.maps.collect()[0]
    assert first.tx_packets == 1 and first.send_counter == 1
    assert first.unanswered_sent == first.last_sent == first.last_data_sent
    plane.take_events()
    plane.send(PACKET)
    plane.send(PACKET)
    assert [event.kind for event, _ in plane.take_events()].count(abi.EventKind.ACTIVE) == 1
    second = plane.maps.collect()[0]
    assert second.unanswered_sent == first.unanswered_sent and second.last_sent != first.last_sent
    plane.receive(keys.seal(padded(ipv4("10.0.0.2", "10.0.0.1"))))
    third = plane.maps.collect()[0]
    assert third.unanswered_sent is None and third.unanswered_received == third.last_received
    plane.send(PACKET)
    assert plane.maps.collect()[0].unanswered_received is None
    assert plane.maps.collect() == []

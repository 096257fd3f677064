"""Several sockets on one port: who gets what."""

import random
import select
import socket
import struct

import pytest

from wgbpf.datapath.interface import DataPathError
from wgbpf.datapath.reuseport import queue_of
from wgbpf.datapath.udp import UdpSockets
from wgbpf.datapath.without import without


def _where(sockets: list[socket.socket], data: bytes) -> int:
    """The queue that a datagram came to."""
    ready, _, _ = select.select(sockets, [], [], 2)
    (found,) = [sock for sock in ready if sock.recv(100) == data]
    return sockets.index(found)


@pytest.mark.parametrize("queues", [1, 2, 3, 16])
def test_a_session_comes_to_one_queue_and_handshakes_to_the_first(queues: int) -> None:
    udp = UdpSockets(0, 0, queues)
    rand = random.Random(queues)
    for family, target in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        sockets = [pair[family == socket.AF_INET6] for pair in udp.queues]
        if None in sockets:
            continue
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for _ in range(60):
                index = rand.getrandbits(32)
                data = struct.pack("<IIQ", 4, index, rand.getrandbits(64)) + rand.randbytes(16)
                sender.sendto(data, (target, udp.port))
                assert _where(sockets, data) == queue_of(index, queues)
            for data in (b"\1\0\0\0" + rand.randbytes(90), b"\4", b"", b"\4\0\0\0"):
                sender.sendto(data, (target, udp.port))
                assert _where(sockets, data) == 0
    udp.close()


def test_the_port_is_taken_from_nobody() -> None:
    first = UdpSockets(0, 0, 2)
    with pytest.raises(OSError):
        UdpSockets(first.port, 0, 2)
    with pytest.raises(OSError):
        UdpSockets(first.port, 0)
    first.close()
    UdpSockets(first.port, 0, 2).close()


def test_what_to_do_without() -> None:
    assert without({}) == frozenset()
    assert without({"WGBPF_WITHOUT": "gso, gro,,pump"}) == {"gso", "gro", "pump"}
    with pytest.raises(DataPathError, match="magic: expected some of pump, simd"):
        without({"WGBPF_WITHOUT": "gso magic"})

"""A native pump between a socket pair that plays the TUN and loopback that plays the network."""

import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from wgbpf.protocol.crypto import Secret
from wgbpf.protocol.keypairs import Keypair
from wgbpf.protocol.noise import TransportKeys

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

    def from_tun(
        self, timeout: float = 0.3, quiet: float = 0.05, tun: socket.socket | None = None
    ) -> list[bytes]:
        """Everything that is written to the TUN within `timeout` and until it is quiet."""
        out = []
        while select.select([tun or self.tun], [], [], timeout)[0]:
            out.append((tun or self.tun).recv(70_000))
            timeout = quiet
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


def connect(one: Bench, two: Bench) -> None:
    """Each is the other's peer: `net` and `far` play no part then."""
    for near, far in ((one, two), (two, one)):
        near.pump.set_endpoint(3, b"\x7f\0\0\x01", far.ours.getsockname()[1], 0, b"", 0)
    two.pump.retire(OURS)
    two.pump.install(3, THEIRS, OURS, K2, K1, boot_ns(), True)


def trim(plain: bytes) -> bytes:
    size = int.from_bytes(plain[2:4], "big") if plain[0] >> 4 == 4 else int.from_bytes(plain[4:6], "big") + 40
    assert not any(plain[size:])
    return plain[:size]

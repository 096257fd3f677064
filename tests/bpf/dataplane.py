"""The programs of the xdp data path, loaded but attached to nothing, and frames to run them with."""

import os
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from wgbpf.datapath import abi
from wgbpf.datapath.libbpf import Map, Object, Program, RingBuffers
from wgbpf.datapath.outerframe import outer_frame
from wgbpf.datapath.xdpmaps import XdpMaps
from wgbpf.protocol.actions import Session
from wgbpf.protocol.addresses import Endpoint, Local, Path
from wgbpf.protocol.crypto import Secret
from wgbpf.protocol.inner import padding

from .build import REPOSITORY, compile_bpf

PORT = 51820
LOOPBACK = 1
SLOTS = 1024
PATHS = {
    4: Path(Endpoint(ip_address("192.0.2.2"), 1234), Local(ip_address("192.0.2.1"), LOOPBACK)),
    6: Path(Endpoint(ip_address("2001:db8::2"), 1234), Local(ip_address("2001:db8::1"), LOOPBACK)),
}


def boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def ipv4(source: str, target: str, payload: bytes = b"", ecn: int = 0) -> bytes:
    length = 20 + len(payload)
    head = bytes([0x45, ecn]) + length.to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 17, 0, 0])
    head += ip_address(source).packed + ip_address(target).packed
    total = sum(int.from_bytes(head[n : n + 2], "big") for n in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + (total ^ 0xFFFF).to_bytes(2, "big") + head[12:] + payload


def ipv6(source: str, target: str, payload: bytes = b"", ecn: int = 0) -> bytes:
    head = (6 << 28 | ecn << 20).to_bytes(4, "big") + len(payload).to_bytes(2, "big") + bytes([17, 64])
    return head + ip_address(source).packed + ip_address(target).packed + payload


@dataclass
class Keys:
    """A session and the peer's side of it."""

    session: Session
    counter: int = 0

    def seal(self, plain: bytes, counter: int | None = None) -> bytes:
        """The data message that the peer would send."""
        if counter is None:
            counter = self.counter
            self.counter += 1
        nonce = bytes(4) + counter.to_bytes(8, "little")
        sealed = ChaCha20Poly1305(bytes(self.session.receive_key)).encrypt(nonce, plain, None)
        head = b"\4\0\0\0" + self.session.local_index.to_bytes(4, "little") + counter.to_bytes(8, "little")
        return head + sealed

    def open(self, message: bytes) -> bytes:
        assert message[:4] == b"\4\0\0\0"
        assert int.from_bytes(message[4:8], "little") == self.session.remote_index
        return ChaCha20Poly1305(bytes(self.session.send_key)).decrypt(
            bytes(4) + message[8:16], message[16:], None
        )


def padded(packet: bytes, mtu: int = 1420) -> bytes:
    return packet + bytes(padding(len(packet), mtu))


@dataclass
class DataPlane:
    programs: dict[str, Program] = field(default_factory=dict)
    events: list[tuple[abi.Event, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        shared: dict[str, Map] = {}
        self._objects = []
        for name in ("ingress", "egress"):
            made = Object(compile_bpf(REPOSITORY / "bpf" / f"{name}.bpf.c"))
            made.set_rodata(bytes(abi.Settings(SLOTS - 1, 0, LOOPBACK)))
            for sized in ("sessions", "endpoints", "sending", "traffic", "peer_keys"):
                made.set_max_entries(sized, SLOTS)
            made.share(shared)
            made.load()
            self._objects.append(made)
            shared = {n: m for n, m in made.maps.items() if "." not in n} | shared
            self.programs |= made.programs
        self.raw = shared
        self.maps = XdpMaps(shared)
        self.maps.set_control("listen_port", PORT)
        self.maps.set_control("mtu", 1420)
        self.maps.set_locals(path.local.address for path in PATHS.values() if path.local)
        self._rings = RingBuffers([shared["events"], shared["packets"]], self._take)

    def _take(self, record: bytes) -> None:
        event = abi.Event.from_buffer_copy(record)
        self.events.append((event, record[60 : 60 + event.length]))

    def close(self) -> None:
        self._rings.close()
        self.maps.close()
        for made in self._objects:
            made.close()

    def take_events(self) -> list[tuple[abi.Event, bytes]]:
        self._rings.consume()
        taken, self.events[:] = list(self.events), []
        return taken

    def kinds(self) -> list[int]:
        """Of the events since the last call, without the wake-ups."""
        return [event.kind for event, _ in self.take_events() if event.kind != abi.EventKind.ACTIVE]

    def peer(self, number: int, *networks: str, path: Path | None = PATHS[4]) -> None:
        if not self.maps.has_peer(number):
            self.maps.add_peer(number)
        self.maps.set_endpoint(number, path)
        nets: list[IPv4Network | IPv6Network] = [ip_network(n) for n in networks]
        self.maps.set_prefixes(number, nets)

    def session(self, number: int, index: int = 0x1234, age: float = 1.0, initiator: bool = True) -> Keys:
        keys = (Secret(os.urandom(32)), Secret(os.urandom(32)))
        made = Session(number, index, 0xABCD0000 | number, *keys, boot() - age, initiator)
        self.maps.write_session(made, number)
        if initiator:
            self.maps.set_sending(number, index)
        return Keys(made)

    def receive(
        self, message: bytes, family: int = 4, ds: int = 0, path: Path | None = None
    ) -> tuple[int, bytes]:
        """Verdict and frame of the ingress program for a message in its outer frame."""
        frame = outer_frame(message, path or PATHS[family], PORT, ds)
        assert frame is not None
        return self.receive_frame(frame)

    def receive_frame(self, frame: bytes) -> tuple[int, bytes]:
        verdict, out, _ = self.programs["wg_ingress"].test_run(frame)
        return verdict, out

    def send(self, packet: bytes) -> int:
        ethertype = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
        return self.send_frame(bytes(12) + ethertype + packet)

    def send_frame(self, frame: bytes) -> int:
        return self.programs["wg_egress"].test_run(frame)[0]

    def counts(self) -> dict[str, int]:
        return {which.name: self.maps.count(which) for which in abi.Count}

    def counted(self, before: dict[str, int]) -> dict[str, int]:
        """What changed since."""
        return {name: n - before[name] for name, n in self.counts().items() if n != before[name]}

"""The guard in both of its programs, loaded but attached to nothing, and peers that speak to it."""

import os
import time
from dataclasses import dataclass, field
from ipaddress import ip_address

from wgbpf.datapath import abi
from wgbpf.datapath.guardmaps import GuardMaps
from wgbpf.datapath.interface import Budget, GuardLimits, GuardSettings
from wgbpf.datapath.libbpf import Map, Object, Program, possible_cpus
from wgbpf.datapath.outerframe import outer_frame
from wgbpf.datapath.xdpmaps import Shared
from wgbpf.protocol.addresses import Endpoint, Local, Path
from wgbpf.protocol.cookies import CookieChecker, CookieMaker
from wgbpf.protocol.crypto import PrivateKey
from wgbpf.protocol.messages import Initiation, Response

from .build import REPOSITORY, compile_bpf
from .dataplane import LOOPBACK, PORT

PROGRAMS = ("wg_guard", "wg_ingress")
OURS = {4: ip_address("192.0.2.1"), 6: ip_address("2001:db8::1")}
MANY = GuardLimits(Budget(1_000_000, 1_000_000), Budget(1_000_000, 1_000_000), 10_000_000)
"""No limit is met."""


def boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def source(address: str = "192.0.2.2", port: int = 1234) -> Path:
    remote = ip_address(address)
    return Path(Endpoint(remote, port), Local(OURS[remote.version], LOOPBACK))


def wrapped(frame: bytes, extra: bytes = bytes(8)) -> bytes:
    """The frame of a datagram with IPv4 options, or behind a hop-by-hop header; `extra` is a multiple of 8 bytes."""
    if frame[12:14] == b"\x08\0":
        size = int.from_bytes(frame[16:18], "big") + len(extra)
        head = bytes([0x45 + len(extra) // 4]) + frame[15:16] + size.to_bytes(2, "big") + frame[18:34]
        return frame[:14] + head + b"\1" * len(extra) + frame[34:]
    size = int.from_bytes(frame[18:20], "big") + len(extra)
    head = frame[14:18] + size.to_bytes(2, "big") + b"\0" + frame[21:54]
    return frame[:14] + head + b"\x11" + bytes([len(extra) // 8 - 1]) + extra[2:] + frame[54:]


def fragmented(frame: bytes) -> bytes:
    """The first piece of a datagram, cut nowhere: more is said to follow."""
    if frame[12:14] == b"\x08\0":
        return frame[:20] + b"\x20\0" + frame[22:]
    made = wrapped(frame)
    return made[:20] + b"\x2c" + made[21:54] + b"\x11\0\0\1" + made[58:]


@dataclass
class GuardPlane:
    """One of PROGRAMS. The checker is the core's side of the same secrets."""

    name: str
    limits: GuardLimits = MANY
    private: PrivateKey = field(default_factory=lambda: PrivateKey(os.urandom(32)))

    def __post_init__(self) -> None:
        file = "guard" if self.name == "wg_guard" else "ingress"
        self._object = Object(compile_bpf(REPOSITORY / "bpf" / f"{file}.bpf.c"))
        if file == "ingress":
            self._object.set_rodata(bytes(abi.Settings(1023, 0, LOOPBACK)))
        self._object.load()
        self.raw: dict[str, Map] = self._object.maps
        self.program: Program = self._object.programs[self.name]
        self.maps = GuardMaps(self.raw)
        self._control = Shared(self.raw["control"])
        self._control.view[:4] = PORT.to_bytes(4, "little")
        for address in OURS.values():
            self.raw["locals"].update(address.packed.ljust(16, b"\0"), bytes(4))
        self.checker = CookieChecker(self.private.public, os.urandom)
        self.set()

    def close(self) -> None:
        self._control.close()
        self.maps.close()
        self._object.close()

    # --- settings ---

    def set(self, limits: GuardLimits | None = None, now: float = 0.0) -> None:
        """As the controller does; `now` is the checker's time."""
        self.limits = limits or self.limits
        secret, previous = self.checker.secrets(now)
        self.maps.set(
            GuardSettings(
                self.private.public, bytes(secret), None if previous is None else bytes(previous), self.limits
            )
        )

    def load(self, seconds: float = 60) -> None:
        """By the controller's word."""
        self.maps.loaded(boot() + seconds)

    # --- messages ---

    def maker(self) -> CookieMaker:
        return CookieMaker(self.private.public)

    def initiation(self, maker: CookieMaker | None = None, sender: int | None = None) -> bytes:
        """With a good mac1, and mac2 where the maker has a cookie; the rest is random."""
        index = int.from_bytes(os.urandom(4), "little") if sender is None else sender
        body = Initiation(index, os.urandom(32), os.urandom(48), os.urandom(28)).pack()
        return (maker or self.maker()).stamp(body, 0.0)

    def response(self, receiver: int, maker: CookieMaker | None = None) -> bytes:
        body = Response(
            int.from_bytes(os.urandom(4), "little"), receiver, os.urandom(32), os.urandom(16)
        ).pack()
        return (maker or self.maker()).stamp(body, 0.0)

    def live(self, index: int, seconds: float = 60) -> None:
        self.raw["live"].update(
            index.to_bytes(4, "little"), int((boot() + seconds) * 1e9).to_bytes(8, "little")
        )

    # --- running ---

    def receive(self, message: bytes, path: Path | None = None) -> tuple[int, bytes]:
        frame = outer_frame(message, path or source(), PORT, 0)
        assert frame is not None
        return self.receive_frame(frame)

    def receive_frame(self, frame: bytes) -> tuple[int, bytes]:
        verdict, out, _ = self.program.test_run(frame)
        return verdict, out

    def counts(self) -> dict[str, int]:
        """Those that are not zero."""
        size = 8 * possible_cpus()
        found = {}
        for which in abi.Count:
            value = self.raw["counts"].lookup(which.to_bytes(4, "little"), size) or b""
            total = sum(int.from_bytes(value[n : n + 8], "little") for n in range(0, size, 8))
            if total:
                found[which.name] = total
        return found

    def counted(self, before: dict[str, int]) -> dict[str, int]:
        """What changed since."""
        return {
            name: n - before.get(name, 0) for name, n in self.counts().items() if n != before.get(name, 0)
        }

"""Floods for the lab: bounded in rate and time, from one lab host to another, and to nobody else.

flood = Flood(lab, attacker, victim, messages)
flood.start(rate=100_000, seconds=20)
sent = flood.wait()
"""

import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from tests.lab.lab import Host, Lab, LabError, Process
from wgbpf.datapath.outerframe import outer_frame
from wgbpf.protocol.addresses import Endpoint, Local
from wgbpf.protocol.addresses import Path as OuterPath

_SOURCE = Path(__file__).with_name("flood.c")
_PROGRAM = Path(__file__).parents[2] / "build" / "bench" / "flood"
MAX_SECONDS = 60.0
MAX_RATE = 5_000_000.0
MANY_SOURCES = 1 << 17
"""198.18.0.0/15, kept for benchmarks by RFC 2544."""

_SWALLOW = """
table netdev flood {
  chain answers {
    type filter hook ingress device "eth0" priority 0;
    ip daddr 198.18.0.0/15 drop
  }
}
"""


@dataclass(frozen=True)
class Sent:
    frames: int
    """That the kernel took."""
    refused: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.frames / self.seconds


def build() -> Path:
    """The generator, compiled where it is older than its source."""
    if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < _SOURCE.stat().st_mtime:
        _PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        made = _PROGRAM.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", str(_SOURCE), "-o", str(made)], check=True)
        # Others may be about to start it.
        made.rename(_PROGRAM)
    return _PROGRAM


class Flood:
    """From eth0 of one host of a lab to the port of another one, which must share a link with it."""

    def __init__(
        self, lab: Lab, attacker: Host, victim: Host, port: int, messages: Sequence[bytes], sources: int
    ) -> None:
        """`sources`: random addresses to send from; 0: the attacker's own."""
        if attacker not in lab.hosts or victim not in lab.hosts:
            raise LabError("refused: a flood goes from a host of the lab to a host of the same lab")
        self._attacker = attacker
        self._sources = sources
        self._file = tempfile.NamedTemporaryFile(prefix="wgbpf-flood-")  # noqa: SIM115  # kept while it runs
        macs = _mac(victim) + _mac(attacker)
        path = OuterPath(
            Endpoint(ip_address(attacker.address4), 40_000), Local(ip_address(victim.address4), 0)
        )
        for message in messages:
            frame = outer_frame(message, path, port, 0)
            assert frame is not None
            self._file.write(struct.pack("<H", len(frame)) + macs + frame[12:])
        self._file.flush()
        self._process: Process | None = None
        # Spoofed sources are answered: the answers end at the attacker's cable, cheaply.
        victim.run(f"ip route replace 198.18.0.0/15 via {attacker.address4}")
        attacker.run(["nft", "-f", "-"], stdin=_SWALLOW)

    def start(self, rate: float, seconds: float, cpu: int = 0) -> None:
        """`rate` 0: as many as it can. On the given CPU."""
        if not 0 < seconds <= MAX_SECONDS or not 0 <= rate <= MAX_RATE:
            raise LabError(f"refused: at most {MAX_SECONDS:.0f} s and {MAX_RATE:,.0f} frames a second")
        arguments = ["eth0", self._file.name, rate, seconds, cpu, self._sources]
        self._process = self._attacker.start([str(build()), *map(str, arguments)])
        self._until = seconds + 20

    def wait(self) -> Sent:
        assert self._process is not None
        if self._process.wait(self._until):
            raise LabError(self._process.output)
        found = re.search(r"sent (\d+) refused (\d+) seconds ([\d.]+)", self._process.output)
        assert found is not None, self._process.output
        return Sent(int(found[1]), int(found[2]), float(found[3]))

    def close(self) -> None:
        if self._process is not None:
            self._process.stop()
        self._file.close()


def _mac(host: Host) -> bytes:
    found = re.search(r"link/ether ([0-9a-f:]{17})", host.run("ip link show eth0"))
    assert found is not None
    return bytes.fromhex(found[1].replace(":", ""))

"""Who is measured: each makes both ends of a tunnel between two hosts of the lab."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.lab import Host, Lab, wait_until
from tests.lab.nodes import Node, Wgbpf, WireguardGo
from wgbpf import __version__

BUILD = Path("build/bench").absolute()
NEWEST_GO = "golang.zx2c4.com/wireguard@latest"


@dataclass(frozen=True)
class Implementation:
    name: str
    version: str
    make: Callable[[Lab, Host, int], Node] | None
    """None: no tunnel."""


@dataclass(frozen=True)
class Pair:
    """Two hosts and the addresses by which they reach each other through what is measured."""

    a: Host
    b: Host
    address_a: str
    address_b: str
    nodes: tuple[Node, ...]


class _NewestGo(WireguardGo):
    program = str(BUILD / "wireguard")


class _Python(Wgbpf):
    datapath = "tun-python"


class _Xdp(Wgbpf):
    datapath = "xdp"


class _Rust(Node):
    """boringtun-cli and gotatun take the same arguments."""

    crate = ""
    program = ""
    options: tuple[str, ...] = ()

    def run_program(self) -> None:
        program = _find(self.program)
        self.process = self.host.start([program, "-f", *self.options, self.interface], {"WG_SUDO": "1"})
        wait_until(self._serves, 10, f"{self.program} serves {self.interface}")


class _Boringtun(_Rust):
    crate = program = "boringtun-cli"
    options = ("--disable-drop-privileges",)


class _Gotatun(_Rust):
    crate, program = "gotatun-cli", "gotatun"


def _ours(kind: type[Wgbpf]) -> Callable[[Lab, Host, int], Node]:
    return lambda lab, host, number: kind(lab, host, number)


def available(say: Callable[[str], None], build: bool) -> Iterator[Implementation]:
    """What this machine has or (`build`; minutes, once) can build; for the rest a word why not."""
    yield Implementation("none", "", None)
    if _works(Wgbpf, say, "wgbpf-tun"):
        yield Implementation("wgbpf-tun", __version__, _ours(Wgbpf))
    yield Implementation("wgbpf-tun-python", __version__, _ours(_Python))
    if _works(_Xdp, say, "wgbpf-xdp"):
        yield Implementation("wgbpf-xdp", __version__, _ours(_Xdp))
    version = _newest_go(say)
    if version:
        yield Implementation("wireguard-go", version, _ours_go(_NewestGo))
    if shutil.which("wireguard-go"):
        yield Implementation("wireguard-go-debian", _debian_version("wireguard-go"), _ours_go(WireguardGo))
    for name, kind in (("boringtun", _Boringtun), ("gotatun", _Gotatun)):
        if build and not _find(kind.program):
            _build_crate(kind.crate, say)
        program = _find(kind.program)
        if program:
            yield Implementation(name, _output([program, "--version"]), _rust(kind))
        else:
            say(f"{name}: not here (`make bench` without --quick builds it where cargo is)")


def _ours_go(kind: type[WireguardGo]) -> Callable[[Lab, Host, int], Node]:
    return lambda lab, host, number: kind(lab, host, number)


def _rust(kind: type[_Rust]) -> Callable[[Lab, Host, int], Node]:
    return lambda lab, host, number: kind(lab, host, number)


def _works(kind: type[Wgbpf], say: Callable[[str], None], name: str) -> bool:
    """Whether that data path starts here, natively."""
    try:
        with Lab() as lab:
            a, b = lab.host("a"), lab.host("b")
            lab.link(a, b)
            node = kind(lab, a, 1)
            node.start()
            if "python" in node.status()["info"].get("pump", ""):
                say(f"{name}: the native pump is not built")
                return False
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the reason
        say(f"{name}: {str(error).splitlines()[-1] if str(error) else type(error).__name__}")
        return False
    return True


def newest_go(say: Callable[[str], None]) -> Callable[[Lab, Host, int], Node] | None:
    """The newest wireguard-go, or Debian's where no Go is."""
    if _newest_go(say):
        return _ours_go(_NewestGo)
    return _ours_go(WireguardGo) if shutil.which("wireguard-go") else None


def _newest_go(say: Callable[[str], None]) -> str:
    """Build it once; its version, or empty."""
    if shutil.which("go") is None:
        say("wireguard-go: no Go toolchain to build the newest one")
        return ""
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / "wireguard"
    if not program.exists():
        say("building the newest wireguard-go")
        done = subprocess.run(
            ["go", "install", NEWEST_GO],
            env={**os.environ, "GOBIN": str(BUILD)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            say(f"wireguard-go: {done.stderr.strip().splitlines()[-1]}")
            return ""
    lines = _output(["go", "version", "-m", str(program)]).splitlines()
    return next((line.split()[2] for line in lines if line.strip().startswith("mod")), "unknown")


def _find(program: str) -> str:
    """Path, or empty."""
    return shutil.which(program) or shutil.which(program, path=BUILD / "bin") or ""


def _build_crate(crate: str, say: Callable[[str], None]) -> None:
    """Into BUILD/bin, once."""
    if shutil.which("cargo") is None:
        return
    say(f"building {crate}")
    command = ["cargo", "install", "--quiet", "--root", str(BUILD), crate]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"{crate}: {(done.stderr.strip() or 'cargo failed').splitlines()[-1]}")


def _debian_version(package: str) -> str:
    return _output(["dpkg-query", "-W", "-f", "${Version}", package]) or "unknown"


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def pair(implementation: Implementation) -> Iterator[Pair]:
    """Hosts with a working tunnel, or with none, for as long as the block lasts."""
    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.link(a, b)
        if implementation.make is None:
            yield Pair(a, b, a.address4, b.address4, ())
            return
        left, right = implementation.make(lab, a, 1), implementation.make(lab, b, 2)
        left.add_peer(right, 4)
        right.add_peer(left, 4)
        left.start()
        right.start()
        wait_until(
            lambda: a.ping(right.inner4, count=1).received, 15, f"{implementation.name} carries a ping"
        )
        yield Pair(a, b, left.inner4, right.inner4, (left, right))

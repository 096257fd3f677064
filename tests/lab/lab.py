"""Hosts made of network namespaces, joined by veth pairs, gone when the lab is left.

    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.link(a, b)              # eth0 on both, 192.0.2.1 / 192.0.2.2, 2001:db8::1 / ::2
        assert a.ping(b.address4).received == 3

Everything that a host starts is ended by pid. A lab whose process died is swept by the next one.
"""

import atexit
import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "wgl"
_NETNS = Path("/run/netns")
PINGER = Path(__file__).with_name("pinger.py")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

Command = str | Sequence[str]


class LabError(Exception):
    """A command failed; the message has its output."""


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _argv(command: Command) -> list[str]:
    return command.split() if isinstance(command, str) else [str(part) for part in command]


def wait_until(condition: Callable[[], object], timeout: float, what: str) -> float:
    """Seconds until the condition held. Raises LabError after `timeout` seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise LabError(f"not within {timeout:.0f} s: {what}")
        time.sleep(0.05)
    return time.monotonic() - began


class Process:
    """A program of a host that runs until it ends or `stop`. Its output is kept in a file."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        self.argv = argv
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed in stop
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            preexec_fn=_die_with_parent,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        return os.pread(self._output.fileno(), 10 << 20, 0).decode(errors="replace")

    def wait(self, timeout: float) -> int:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{' '.join(self.argv)}: still runs after {timeout} s\n{self.output}") from None

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@dataclass(frozen=True)
class Pings:
    sent: int
    received: int
    rtts_ms: tuple[float, ...]


class Host:
    """A network namespace. `address4` and `address6` are those of its first link."""

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        self.address4 = ""
        self.address6 = ""
        self._links = 0
        self._processes: list[Process] = []

    def __repr__(self) -> str:
        return f"Host({self.name})"

    def _inside(self, command: Command) -> list[str]:
        # Not `ip netns exec`: that mounts /sys anew and hides bpffs.
        return ["nsenter", f"--net={_NETNS / self.namespace}", "--", *_argv(command)]

    def try_run(
        self, command: Command, timeout: float = 30, stdin: str = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._inside(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(env or {})},
        )

    def run(
        self, command: Command, timeout: float = 30, stdin: str = "", env: dict[str, str] | None = None
    ) -> str:
        """Standard output. Raises LabError when the command fails."""
        done = self.try_run(command, timeout, stdin, env)
        if done.returncode:
            shown = " ".join(_argv(command))
            raise LabError(f"{self.name}: {shown}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self, command: Command, env: dict[str, str] | None = None) -> Process:
        process = Process(self._inside(command), env)
        self._processes.append(process)
        return process

    def next_interface(self) -> str:
        self._links += 1
        return f"eth{self._links - 1}"

    def ping(
        self, address: str, count: int = 3, interval: float = 0.05, wait: float = 1, size: int = 56
    ) -> Pings:
        """Echo requests, counted exactly; `wait` is for the last answers."""
        command = [sys.executable, str(PINGER), address, *map(str, (count, interval, wait, size))]
        found = json.loads(self.run(command, timeout=count * interval * 2 + wait + 20))
        return Pings(found["sent"], found["received"], tuple(found["rtts"]))

    def round_trips(self, address: str, count: int, interval: float) -> tuple[float, ...]:
        """By ping(8), whose clock is nearer to the wire than Python's; milliseconds."""
        command = ["ping", "-n", "-c", str(count), "-i", str(interval), "-W", "1", address]
        done = self.try_run(command, timeout=count * interval * 2 + 20)
        return tuple(float(text) for text in re.findall(r"time=([0-9.]+) ms", done.stdout))

    def stop_all(self) -> None:
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()


class Lab:
    """Makes hosts and links, and takes all of them away."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self._undo: list[Callable[[], None]] = []
        self._networks = 0

    def __enter__(self) -> "Lab":
        sweep()
        atexit.register(self.close)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        atexit.unregister(self.close)

    def close(self) -> None:
        """End every process, undo every `on_close`, delete every namespace; in this order."""
        for host in self.hosts:
            host.stop_all()
        for undo in reversed(self._undo):
            with contextlib.suppress(OSError, LabError):
                undo()
        for host in self.hosts:
            delete_namespace(host.namespace)
        self.hosts.clear()
        self._undo.clear()
        remove_traces()

    def on_close(self, undo: Callable[[], None]) -> None:
        self._undo.append(undo)

    def host(self, name: str) -> Host:
        number = next(_numbers)
        host = Host(name, f"{_PREFIX}{os.getpid()}-{number}{name}")
        _ip("netns", "add", host.namespace)
        self.hosts.append(host)
        host.run("ip link set lo up")
        return host

    def link(self, a: Host, b: Host, mtu: int = 1500, gro: bool = True) -> tuple[str, str]:
        """A veth pair with an IPv4 /24 and an IPv6 /64; .1 is `a`. Returns both interface names.

        With GRO its ends take frames that XDP redirects to them, as the driver of a NIC does.
        """
        net = self._networks
        self._networks += 1
        names = a.next_interface(), b.next_interface()
        _ip(
            *("link", "add", names[0], "mtu", str(mtu), "netns", a.namespace, "type", "veth"),
            *("peer", "name", names[1], "mtu", str(mtu), "netns", b.namespace),
        )
        for position, (host, name) in enumerate(zip((a, b), names, strict=True), 1):
            address4, address6 = f"192.0.{2 + net}.{position}", f"2001:db8:{net}::{position}"
            host.run(f"ip addr add {address4}/24 dev {name}")
            host.run(f"ip addr add {address6}/64 dev {name} nodad")
            host.run(f"ip link set {name} up")
            host.run(f"ethtool -K {name} gro {'on' if gro else 'off'}")
            host.address4 = host.address4 or address4
            host.address6 = host.address6 or address6
        return names


def sweep() -> None:
    """Delete the namespaces of labs whose process is dead."""
    for path in _NETNS.glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", path.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            delete_namespace(path.name)


def unique_interface() -> str:
    """A WireGuard interface name of this process: /var/run/wireguard is shared by all namespaces."""
    name = f"wl{os.getpid() % 10_000_000}x{next(_numbers)}"
    _interfaces.append(name)
    return name


def remove_traces() -> None:
    """What a controller leaves on purpose (its latest time stamp), or after it was killed."""
    for name in _interfaces:
        for path in (f"/var/lib/wgbpf/{name}.tai64n", f"/run/wgbpf/{name}.lock", f"/run/wgbpf/{name}.log"):
            Path(path).unlink(missing_ok=True)
        Path(f"/etc/wgbpf/{name}.key").unlink(missing_ok=True)
    _interfaces.clear()


def delete_namespace(name: str) -> None:
    """End what still runs in it (a daemon that a command left), then delete it."""
    done = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + 3
        while pids and time.monotonic() < deadline:
            pids = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
            time.sleep(0.02)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr}")


_numbers = iter(range(1_000_000))
_interfaces: list[str] = []

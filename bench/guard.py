"""`python -m bench.guard`: what floods do to an established tunnel and to new peers, with the guard and without.

First the cost of a refused packet by test run. Then, for each implementation, flood and rate: a tunnel carries 100 Mbit/s
of paced UDP and a ping each 10 ms towards the flooded host, and twenty new peers come at once, two seconds into the flood.
The flooded host's NIC has the first CPU, by a NAPI thread; the generator, the peer and the programs that measure share the last;
what is flooded runs where it likes.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.lab.crowd import private_key
from tests.lab.lab import PINGER, Host, Lab, LabError, Process, wait_until
from tests.lab.nodes import PORT, Node, Wgbpf
from wgbpf.config.keys import encode_key, genkey, pubkey

from . import guardcost
from .flood import Flood
from .flood.kinds import Kind, Target, messages, sources
from .implementations import newest_go

_OUT = Path("build/bench-guard.json")
_TESTS = Path(__file__).parents[1] / "tests" / "lab"
_NEW_PEERS = 20
_RATE = 100_000
_IN_TIME = 6.0
_CARD = 0
"""The CPU of the flooded host's NIC."""
_REST = (os.cpu_count() or 1) - 1
"""The CPU of the generator, the peer and what else is not the flooded host's own program, which runs where it likes."""


class _Xdp(Wgbpf):
    datapath = "xdp"


class _XdpOff(Wgbpf):
    datapath = "xdp"
    options = ("--guard", "off")


class _Tun(Wgbpf):
    datapath = "tun"
    options = ("--guard", "on")


class _TunOff(Wgbpf):
    datapath = "tun"
    options = ("--guard", "off")


@dataclass(frozen=True)
class Row:
    implementation: str
    flood: str
    wanted: int
    """Frames a second; 0: as many as the generator can."""
    sent: float
    loss: float
    """Of the tunnel's UDP, percent."""
    ping_p99: float
    ping_max: float
    pings_lost: int
    in_time: int
    """New peers of twenty that were in within six seconds."""
    slowest: float | None
    """Seconds; None: at least one was not in at all."""
    cpu: float
    """Of the flooded host's controller, percent of one core: its main thread, or all of another implementation."""
    pump_cpu: float
    """Of the other threads of its process: the tun data path's pump."""


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _napi_to_cpu(host: Host, cpu: int) -> set[int]:
    """The NIC's NAPI in a thread of its own, one CPU for each host. Else it would run wherever the sender is."""
    before = _napi_threads()
    script = "from wgbpf.datapath.napi import NapiThreads; assert NapiThreads('eth0').switch(True)"
    host.run([sys.executable, "-c", script])
    made = _napi_threads() - before
    for pid in made:
        os.sched_setaffinity(pid, {cpu})
    return made


def _as_soft_interrupt(threads: set[int], rate: int) -> None:
    """Before all programs while it leaves them time; the kernel makes it nearly their equal when it would not."""
    for pid in threads:
        if rate:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
        else:
            os.setpriority(os.PRIO_PROCESS, pid, -10)


def _napi_threads() -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text().startswith("napi/eth0-"):
                found.add(int(path.parent.name))
    return found


def _cpu_seconds(victim: Node) -> tuple[float, float]:
    """Of the controller, and of the threads beside it."""
    assert victim.process is not None
    pid = victim.process.pid
    whole = _used(f"/proc/{pid}/stat")
    controller = _used(f"/proc/{pid}/task/{pid}/stat") if isinstance(victim, Wgbpf) else whole
    return controller, whole - controller


def _used(path: str) -> float:
    fields = Path(path).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Site:
    """A flooded host, its peer, and twenty more that it knows but has not met."""

    def __init__(self, lab: Lab, make: Callable[[Lab, Host, int], Node]) -> None:
        self.lab = lab
        self.a, self.b = lab.host("a"), lab.host("b")
        lab.link(self.a, self.b)
        self.victim, self.peer = make(lab, self.a, 1), _Xdp(lab, self.b, 2, port=PORT + 1)
        self.victim.add_peer(self.peer, 4)
        self.peer.add_peer(self.victim, 4)
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        self.victim.start()
        os.sched_setaffinity(0, {_REST})
        self.peer.start()
        wait_until(lambda: self.b.ping(self.victim.inner4, count=1).received, 15, "the tunnel carries a ping")
        self.cards = _napi_to_cpu(self.a, _CARD), _napi_to_cpu(self.b, _REST)
        self.known = genkey(os.urandom)
        self._add([pubkey(self.known)])

    def _add(self, keys: list[bytes]) -> None:
        text = "".join(f"[Peer]\nPublicKey = {encode_key(key)}\n" for key in keys)
        self.victim.wg("addconf", self.victim.interface, "/dev/stdin", stdin=text)

    def _run(self, script: str, *arguments: object) -> list[str]:
        return [sys.executable, str(_TESTS / script), *map(str, arguments)]

    def _target(self, kind: Kind) -> Target:
        public = pubkey(self.victim.private_key)
        if kind not in (Kind.REPLAY, Kind.GARBAGE):
            return Target(public)
        command = self._run("knock.py", self.known.hex(), public.hex(), self.a.address4, PORT)
        found = json.loads(self.b.run(command, env=_environment()))
        return Target(public, bytes.fromhex(found["initiation"]), found["index"])

    def measure(self, name: str, kind: Kind, rate: int, seconds: float) -> Row:
        seed = os.urandom(8).hex()
        for threads in self.cards:
            _as_soft_interrupt(threads, rate)
        self._add([pubkey(private_key(seed, n)) for n in range(_NEW_PEERS)])
        flood = Flood(self.lab, self.b, self.a, PORT, messages(kind, self._target(kind)), sources(kind))
        server = self.a.start(["iperf3", "-s", "-1", "-B", self.victim.inner4, "--forceflush"])
        wait_until(lambda: "listening" in server.output, 5, "iperf3 listens")
        steady = seconds - 3
        flow = self.b.start(f"iperf3 -c {self.victim.inner4} -u -l 1300 -b 100M -w 4M -J -t {seconds:.0f}")
        pings = self.b.start(
            [sys.executable, str(PINGER), self.victim.inner4, *map(str, (int(steady * 100), 0.01, 2, 56))]
        )
        time.sleep(1)
        flood.start(rate, seconds, cpu=_REST)
        began, used = time.monotonic(), _cpu_seconds(self.victim)
        time.sleep(2)
        crowd = self._run(
            "crowd.py",
            seed,
            _NEW_PEERS,
            self.a.address4,
            PORT,
            pubkey(self.victim.private_key).hex(),
            seconds - 3,
        )
        took = json.loads(self.b.run(crowd, timeout=seconds + 20, env=_environment()))
        sent = flood.wait()
        controller, pump = _cpu_seconds(self.victim)
        to_percent = 100 / (time.monotonic() - began)
        pings.wait(seconds * 3 + 20)
        heard = json.loads(pings.output.splitlines()[-1])
        rtts = sorted(heard["rtts"]) or [float("inf")]
        flood.close()
        return Row(
            name,
            f"({kind.value}) {kind.text}",
            rate,
            sent.rate,
            self._loss(flow, seconds),
            rtts[int(len(rtts) * 0.99)],
            rtts[-1],
            heard["sent"] - heard["received"],
            sum(1 for t in took if t is not None and t <= _IN_TIME),
            None if None in took else max(took),
            (controller - used[0]) * to_percent,
            (pump - used[1]) * to_percent,
        )

    @staticmethod
    def _loss(flow: Process, seconds: float) -> float:
        """100 when the flow did not survive."""
        try:
            flow.wait(seconds + 15)
            end = json.loads(flow.output)["end"]["sum"]
            return float(end["lost_percent"])
        except (LabError, KeyError, ValueError):
            flow.stop()
            return 100.0


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(_TESTS.parents[1])}


def _implementations(wanted: list[str] | None) -> dict[str, Callable[[Lab, Host, int], Node]]:
    found: dict[str, Callable[[Lab, Host, int], Node]] = {
        "wgbpf xdp, guard on": _Xdp,
        "wgbpf xdp, guard off": _XdpOff,
        "wgbpf tun, guard on": _Tun,
        "wgbpf tun, guard off": _TunOff,
    }
    theirs = newest_go(_say)
    if theirs is not None:
        found["wireguard-go"] = theirs
    return {name: make for name, make in found.items() if not wanted or name in wanted}


def _print(rows: list[Row], costs: list[guardcost.Cost]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 180)
    table = Table("refused packet", "program", "ns", "empty", "more", box=None)
    for c in costs:
        more = f"{c.nanoseconds - c.empty:.0f}"
        table.add_row(c.what, c.program, f"{c.nanoseconds:.0f}", f"{c.empty:.0f}", more)
    console.print(table)
    head = (
        "implementation",
        "flood",
        "sent/s",
        "loss %",
        "p99 ms",
        "max ms",
        "lost",
        "in 6 s",
        "slowest s",
        "CPU %",
        "pump CPU %",
    )
    table = Table(*head, box=None)
    for r in rows:
        slowest = "never" if r.slowest is None else f"{r.slowest:.1f}"
        table.add_row(
            *(r.implementation, r.flood, f"{r.sent:,.0f}", f"{r.loss:.3f}", f"{r.ping_p99:.1f}"),
            *(f"{r.ping_max:.1f}", str(r.pings_lost), f"{r.in_time}/{_NEW_PEERS}", slowest),
            *(f"{r.cpu:.1f}", f"{r.pump_cpu:.1f}"),
        )
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.guard", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each flood; at most 60")
    parser.add_argument("--rate", type=int, action="append", help="frames a second; 0: as many as it can")
    parser.add_argument("--kind", action="append", choices=[kind.value for kind in Kind])
    parser.add_argument("--implementation", action="append")
    parser.add_argument("--cost-only", action="store_true", help="no floods")
    options = parser.parse_args()
    _say("cost of a refused packet")
    costs, rows = guardcost.measure(), list[Row]()
    kinds = [kind for kind in Kind if not options.kind or kind.value in options.kind]
    for name, make in ({} if options.cost_only else _implementations(options.implementation)).items():
        for kind in kinds:
            for rate in options.rate or (_RATE, 0):
                _say(f"{name}: ({kind.value}) {kind.text}, {rate or 'as many as it can'}")
                try:
                    with Lab() as lab:
                        rows.append(Site(lab, make).measure(name, kind, rate, options.seconds))
                except (LabError, OSError, ValueError) as error:
                    _say(f"{name}: {str(error).splitlines()[0]}")
                document = {"costs": [asdict(c) for c in costs], "floods": [asdict(r) for r in rows]}
                _OUT.parent.mkdir(exist_ok=True)
                _OUT.write_text(json.dumps(document, indent=1) + "\n")
    _print(rows, costs)
    print(f"\nwrote {_OUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

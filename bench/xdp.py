"""`python -m bench.xdp`: what the xdp data path promises by itself, as ratios within one run.

Sealing in BPF beside OpenSSL, steering (round trips, one and two sessions), and 10,000 peers beside one.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.bpf.build import REPOSITORY, compile_bpf
from tests.lab.lab import Host, Lab, unique_interface, wait_until
from tests.lab.traffic import iperf3
from wgbpf.datapath import abi
from wgbpf.datapath.bpffs import Pins
from wgbpf.datapath.libbpf import Object, map_of
from wgbpf.datapath.xdpload import STEER_ABOVE
from wgbpf.datapath.xdpmaps import Shared

_ROUNDS = 5
_PEERS = 10_000
_RUNS = 20_000


def _median(values: list[float]) -> float:
    return statistics.median(values)


def sealing() -> None:
    """1408 bytes, by BPF_PROG_TEST_RUN less an empty program, and by OpenSSL's EVP with the key set up once."""
    program = REPOSITORY / "build" / "bench" / "oneshot"
    program.parent.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("oneshot.c")
    subprocess.run(["cc", "-O2", str(source), "-o", str(program), "-lcrypto"], check=True)
    made = Object(compile_bpf(REPOSITORY / "tests" / "bpf" / "crypto_test.bpf.c"))
    made.load()
    for size in (64, 1408):
        numbers = b"".join(n.to_bytes(4, "little") for n in (size, size, 16))
        frame = bytes(32) + bytes(8) + numbers + bytes(16 + size)
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            empty = made.programs["empty"].test_run(frame, repeat=_RUNS)[2]
            ours.append(made.programs["seal"].test_run(frame, repeat=_RUNS)[2] - empty)
            theirs.append(float(subprocess.check_output([program, str(size)])))
        print(
            f"sealing {size} bytes: BPF {_median(list(ours)):.0f} ns, OpenSSL {_median(theirs):.0f} ns, "
            f"x {_median(list(ours)) / _median(theirs):.2f}"
        )
    made.close()


class _Bare:
    """Two hosts with bench.bare between them."""

    def __init__(self, stack: ExitStack, peers: int) -> None:
        lab = stack.enter_context(Lab())
        self.hosts = lab.host("a"), lab.host("b")
        lab.link(*self.hosts)
        self.names, self.said = [], []
        for number, host in enumerate(self.hosts, 1):
            name = unique_interface()
            process = stack.enter_context(_serve(host, name, number, peers))
            assert process.stdout is not None
            self.said.append(json.loads(process.stdout.readline()))
            self.names.append(name)
            for net in range(2):
                host.run(f"ip addr add 10.77.{net}.{number}/24 dev {name}")
            host.run(f"ip link set {name} up")
        # Nobody would resolve the neighbour for the programs.
        self.hosts[0].ping(self.hosts[1].address4)
        wait_until(lambda: self.hosts[0].ping("10.77.0.2", count=1).received, 5, "the tunnel carries a ping")

    def steer_above(self, rate: int) -> None:
        """0: never."""
        for name in self.names:
            fd = Pins(name).get("map_control")
            assert fd is not None
            control = Shared(map_of("control", fd))
            offset = abi.Control.steer_above.offset
            control.view[offset : offset + 4] = rate.to_bytes(4, "little")
            control.close()

    def received(self, size: int) -> float:
        """Packets a second of a saturating UDP flow."""
        end = iperf3(*self.hosts, "10.77.0.2", "-u", "-l", str(size), "-b", "0", seconds=2)["sum"]
        return float((end["packets"] - end["lost_packets"]) / end["seconds"])

    def received_by_two(self) -> float:
        """The same of two flows at once, each in a session of its own, begun on two CPUs."""
        flows = []
        for net in range(2):
            address, port = f"10.77.{net}.2", str(5300 + net)
            server = self.hosts[1].start(["iperf3", "-s", "-1", "-B", address, "-p", port, "--forceflush"])
            wait_until(lambda server=server: "listening" in server.output, 5, "iperf3 listens")
            options = f"-u -l 1300 -b 0 -t 2 -J -A {net % (os.cpu_count() or 1)}"
            flows.append(self.hosts[0].start(f"iperf3 -c {address} -p {port} {options}"))
        total = 0.0
        for flow in flows:
            flow.wait(20)
            end = json.loads(flow.output)["end"]["sum"]
            total += (end["packets"] - end["lost_packets"]) / end["seconds"]
        return total

    def round_trip(self) -> float:
        return _median(list(self.hosts[0].round_trips("10.77.0.2", 2000, 0.001)))


def _serve(host: Host, name: str, number: int, peers: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bench.bare", name, str(number), str(peers)]
    inside = ["nsenter", f"--net=/run/netns/{host.namespace}", "--", *command]
    return subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


def _compare(
    what: str, unit: str, first: tuple[str, Callable[[], float]], second: tuple[str, Callable[[], float]]
) -> None:
    """Interleaved rounds of two ways."""
    rounds = [(first[1](), second[1]()) for _ in range(_ROUNDS)]
    one, two = _median([r[0] for r in rounds]), _median([r[1] for r in rounds])
    print(f"{what}: {first[0]} {one:.4g}, {second[0]} {two:.4g} {unit}, x {two / one:.2f}")


def steering() -> None:
    with ExitStack() as stack:
        pair = _Bare(stack, 2)

        def at(rate: int, measure: Callable[[], float]) -> Callable[[], float]:
            def run() -> float:
                pair.steer_above(rate)
                return measure()

            return run

        _compare(
            "round trip at 1,000 packets/s",
            "ms",
            ("steering off", at(0, pair.round_trip)),
            ("on", at(STEER_ABOVE, pair.round_trip)),
        )
        _compare(
            "one session, 1300 bytes",
            "packets/s",
            ("where it arrives", at(0, lambda: pair.received(1300))),
            ("steered", at(STEER_ABOVE, lambda: pair.received(1300))),
        )
        _compare(
            "not steered, 1300 bytes",
            "packets/s",
            ("one session", at(0, lambda: pair.received(1300))),
            ("two", at(0, pair.received_by_two)),
        )


def many_peers() -> None:
    with ExitStack() as stack:
        few, many = _Bare(stack, 2), _Bare(stack, _PEERS)
        print(f"{_PEERS:,} peers with sessions installed in {max(s['install'] for s in many.said):.2f} s")
        print(f"maps: {many.said[0]['info']['memory']}")
        _compare(
            "forwarding for one peer, 1300 bytes",
            "packets/s",
            ("alone", lambda: few.received(1300)),
            (f"among {_PEERS:,}", lambda: many.received(1300)),
        )


if __name__ == "__main__":
    sealing()
    steering()
    many_peers()

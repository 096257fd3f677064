"""What is measured. Each scenario takes a pair of hosts and seconds, and gives one figure."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.lab import LabError
from tests.lab.nodes import Wgbpf
from tests.lab.traffic import iperf3

from .implementations import Pair

_LINK_MBIT = 600


@dataclass(frozen=True)
class Scenario:
    name: str
    metrics: dict[str, str]
    """Metric to unit."""
    run: Callable[[Pair, int], dict[str, float]]


def _tcp(*options: str) -> Callable[[Pair, int], dict[str, float]]:
    def run(pair: Pair, seconds: int) -> dict[str, float]:
        end = iperf3(pair.a, pair.b, pair.address_b, *options, seconds=seconds)
        total = end["sum_received"]["bits_per_second"]
        if "--bidir" in options:
            total += end["sum_received_bidir_reverse"]["bits_per_second"]
        return {"goodput": total / 1e6}

    return run


def _udp(size: int) -> Callable[[Pair, int], dict[str, float]]:
    """As fast as the sender can; what counts is what the receiver got."""

    def run(pair: Pair, seconds: int) -> dict[str, float]:
        options = ("-u", "-l", str(size), "-b", "0")
        end = iperf3(pair.a, pair.b, pair.address_b, *options, seconds=seconds)["sum"]
        received = end["packets"] - end["lost_packets"]
        rate = received / end["seconds"]
        return {"packets": rate, "goodput": rate * size * 8 / 1e6}

    return run


def _quantiles(rtts: tuple[float, ...]) -> dict[str, float]:
    ordered = sorted(rtts)
    return {"p50": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)]}


def _rtt_idle(pair: Pair, seconds: int) -> dict[str, float]:
    return _quantiles(pair.a.round_trips(pair.address_b, 100 * seconds, 0.01))


def _rtt_busy(pair: Pair, seconds: int) -> dict[str, float]:
    """Beside one saturating TCP flow."""
    server = pair.b.start(["iperf3", "-s", "-1", "-B", pair.address_b, "-p", "5299"])
    command = ["iperf3", "-c", pair.address_b, "-p", "5299", "-t", str(seconds + 2)]
    flow = pair.a.start(["sh", "-c", f"sleep 0.3; exec {' '.join(command)}"])
    rtts = pair.a.round_trips(pair.address_b, 50 * seconds, 0.02)
    flow.wait(seconds + 15)
    server.stop()
    return _quantiles(rtts)


def busy_seconds() -> float:
    """CPU time of the whole machine that was not idle, nor taken by a hypervisor for others."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / 100


def _cpu(pair: Pair, seconds: int) -> dict[str, float]:
    """CPU of the whole machine, both ends and iperf3 included, for a paced flow that all can carry."""
    before = busy_seconds()
    end = iperf3(pair.a, pair.b, pair.address_b, "-b", "150M", seconds=seconds)
    used = busy_seconds() - before
    return {"cpu": used / (end["sum_received"]["bytes"] / 1e9)}


def _link(pair: Pair, seconds: int) -> dict[str, float]:
    """The link of the WireGuardNT announcement: slower than the machine, so a tunnel costs only its headers."""
    if any(isinstance(node, Wgbpf) and node.datapath == "xdp" for node in pair.nodes):
        raise LabError("XDP redirects past the queueing discipline that shapes the link")
    shaper = f"tbf rate {_LINK_MBIT}mbit burst 256kb latency 20ms"
    for host in (pair.a, pair.b):
        host.run(f"tc qdisc add dev eth0 root {shaper}")
    before = busy_seconds()
    end = iperf3(pair.a, pair.b, pair.address_b, seconds=seconds)
    used = busy_seconds() - before
    for host in (pair.a, pair.b):
        host.run("tc qdisc del dev eth0 root")
    received = end["sum_received"]
    return {"goodput": received["bits_per_second"] / 1e6, "cpu": used / (received["bytes"] / 1e9)}


_MBIT = {"goodput": "Mbit/s"}
_RTT = {"p50": "ms", "p99": "ms"}
_UDP = {"packets": "packets/s", "goodput": "Mbit/s"}

SCENARIOS = (
    Scenario("tcp-1", _MBIT, _tcp()),
    Scenario("tcp-4", _MBIT, _tcp("-P", "4")),
    Scenario("tcp-4-both", _MBIT, _tcp("-P", "4", "--bidir")),
    Scenario("udp-1300", _UDP, _udp(1300)),
    Scenario("udp-64", _UDP, _udp(64)),
    Scenario("rtt-idle", _RTT, _rtt_idle),
    Scenario("rtt-busy", _RTT, _rtt_busy),
    Scenario("cpu-per-gb", {"cpu": "s/GB"}, _cpu),
    Scenario("link-600m", {"goodput": "Mbit/s", "cpu": "s/GB"}, _link),
)

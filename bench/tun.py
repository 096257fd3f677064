"""`python -m bench.tun`: the native pump by itself: sealing, what its parts are worth, and where the time goes.

Ratios within one run are what counts: rounds are interleaved, and medians are printed.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.lab.nodes import Wgbpf
from tests.lab.traffic import iperf3
from wgbpf.datapath.without import VARIABLE
from wgbpf.native import _pump

from .implementations import BUILD, Implementation, Pair, pair
from .scenarios import busy_seconds

_ROUNDS = 5
_SECONDS = 2
_SIZES = (64, 208, 512, 1424)
_WITHOUT = ("", "simd", "tso", "uso", "gso", "gro", "tso,uso,gso,gro", "pump")
_CRYPTO = re.compile(r"poly|blocks|xor_message|xor_stream|begin|seal|open|make_powers|ChaCha|chacha")
_COPIES = re.compile(r"_copy_(to|from)_iter|copy_user|rep_movs")


def _median(values: list[float]) -> float:
    return statistics.median(values)


def sealing() -> float:
    """Nanoseconds of the largest size with what runs here."""
    names = _pump.implementations()
    best = 0.0
    for size in _SIZES:
        rounds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(4 * _ROUNDS):
            for name in names:
                rounds[name].append(_pump.measure(name, size, 20_000))
        medians = {name: _median(values) for name, values in rounds.items()}
        said = ", ".join(f"{n} {ns:.0f} ns (x {ns / medians[names[-1]]:.2f})" for n, ns in medians.items())
        print(f"sealing {size} bytes: {said}")
        best = medians[names[0]]
    return best


@contextmanager
def _tunnel(without: str) -> Iterator[Pair]:
    os.environ[VARIABLE] = without
    try:
        with pair(
            Implementation("wgbpf-tun", "", lambda lab, host, number: Wgbpf(lab, host, number))
        ) as made:
            yield made
    finally:
        del os.environ[VARIABLE]


def _tcp(hosts: Pair) -> float:
    end = iperf3(hosts.a, hosts.b, hosts.address_b, seconds=_SECONDS)
    return float(end["sum_received"]["bits_per_second"])


def _udp(hosts: Pair) -> float:
    end = iperf3(hosts.a, hosts.b, hosts.address_b, "-u", "-l", "1300", "-b", "0", seconds=_SECONDS)["sum"]
    return float((end["packets"] - end["lost_packets"]) / end["seconds"])


def without() -> None:
    """What each part is worth: the rate without it, as a share of the rate with all."""
    flows = {"one TCP flow": _tcp, "UDP 1300 B": _udp}
    rounds: dict[tuple[str, str], list[float]] = {}
    for _ in range(_ROUNDS):
        for names in _WITHOUT:
            with _tunnel(names) as hosts:
                for flow, measure in flows.items():
                    rounds.setdefault((flow, names), []).append(measure(hosts))
    for flow in flows:
        whole = _median(rounds[flow, ""])
        for names in _WITHOUT[1:]:
            print(f"{flow} without {names}: x {_median(rounds[flow, names]) / whole:.2f}")


def profile(seal_ns: float) -> None:
    """Shares of the CPU time of one TCP flow, both ends and iperf3 included."""
    if shutil.which("perf") is None:
        print("no profile: perf is not installed (Debian: linux-perf)")
        return
    BUILD.mkdir(parents=True, exist_ok=True)
    data = str(BUILD / "perf.data")
    with _tunnel("") as hosts:
        record = [
            "perf",
            "record",
            "-q",
            "-a",
            "-F",
            "499",
            "-e",
            "cpu-clock",
            "-o",
            data,
            "--",
            "sleep",
            "6",
        ]
        before = busy_seconds()
        with subprocess.Popen(record, stderr=subprocess.DEVNULL):
            end = iperf3(hosts.a, hosts.b, hosts.address_b, seconds=6)
        used = busy_seconds() - before
        mss = end["streams"][0]["sender"].get("mss") or 1368
    per_gb = used / (end["sum_received"]["bytes"] / 1e9)
    print(f"one TCP flow: {per_gb:.2f} CPU s/GB; sealing and opening alone: {2 * seal_ns / mss:.2f} s/GB")
    command = [
        "perf",
        "report",
        "-i",
        data,
        "--comm",
        "python,iperf3",
        "--sort",
        "comm,dso,symbol",
        "--stdio",
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    shares: dict[str, float] = {}
    for line in text.splitlines():
        found = re.match(r"\s*([0-9.]+)%\s+(\S+)\s+(\S+)\s+\[.\]\s+(\S+)", line)
        if found:
            part = _part(found[2], found[3], found[4])
            shares[part] = shares.get(part, 0.0) + float(found[1])
    total = sum(shares.values())
    for part, share in sorted(shares.items(), key=lambda item: -item[1]):
        print(f"  {share / total:6.1%}  {part}")


def _part(comm: str, dso: str, symbol: str) -> str:
    if "_pump" in dso:
        return "pump: ChaCha20-Poly1305" if _CRYPTO.search(symbol) else "pump: all else"
    if "kernel" in dso:
        who = "iperf3" if comm == "iperf3" else "the pump's system calls"
        return f"kernel, {who}: {'copying' if _COPIES.search(symbol) else 'all else'}"
    return f"{comm}: libraries"


def main() -> int:
    best = sealing()
    profile(best)
    if "--without" in sys.argv:
        without()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench`: every implementation on the same topology, interleaved rounds, medians.

Both ends of a tunnel run on this machine, so absolute figures are those of two ends on its cores; ratios
within one run are what counts.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.lab.lab import LabError

from .control import handshakes, start_with_peers
from .implementations import BUILD, Implementation, available, pair
from .report import Report
from .scenarios import SCENARIOS, Scenario

_OUT = Path("build/bench.json")
_CONTROL = ("handshakes", "peers-10k")
_NAMES = [*(s.name for s in SCENARIOS), *_CONTROL]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _measure(report: Report, implementation: Implementation, scenarios: list[Scenario], seconds: int) -> None:
    """All scenarios on one tunnel."""
    with pair(implementation) as hosts:
        for scenario in scenarios:
            try:
                values = scenario.run(hosts, seconds)
            except (LabError, KeyError, IndexError) as error:
                _say(f"{implementation.name}: {scenario.name}: {str(error).splitlines()[0]}")
                continue
            for metric, value in values.items():
                report.add(scenario.name, implementation.name, metric, scenario.metrics[metric], value)


def _measure_control(report: Report, implementation: Implementation, wanted: set[str]) -> None:
    if implementation.make is None:
        return
    try:
        if "handshakes" in wanted:
            report.add("handshakes", implementation.name, "rate", "1/s", handshakes(implementation))
        if "peers-10k" in wanted:
            report.add("peers-10k", implementation.name, "start", "s", start_with_peers(implementation))
    except (LabError, RuntimeError) as error:
        _say(f"{implementation.name}: {str(error).splitlines()[0]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 rounds of a second, the main peers only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each flow")
    parser.add_argument("--scenario", action="append", choices=_NAMES)
    parser.add_argument("--implementation", action="append")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 1
    wanted = set(options.scenario or _NAMES)
    scenarios = [s for s in SCENARIOS if s.name in wanted]
    found = list(available(_say, build=not options.quick))
    if options.implementation:
        found = [i for i in found if i.name in options.implementation]
    elif options.quick:
        found = [i for i in found if i.name not in ("wgbpf-tun-python", "wireguard-go-debian")]
    report = Report({i.name: i.version for i in found})
    began = time.monotonic()
    for number in range(options.rounds):
        for implementation in found:
            _say(
                f"round {number + 1} of {options.rounds}: {implementation.name} ({time.monotonic() - began:.0f} s)"
            )
            try:
                _measure(report, implementation, scenarios, options.seconds)
            except LabError as error:
                _say(f"{implementation.name}: {str(error).splitlines()[0]}")
            _measure_control(report, implementation, wanted)
            report.write(_OUT)
    report.print()
    print(f"\nwrote {_OUT} ({time.monotonic() - began:.0f} s)")
    try:
        report.draw(BUILD.parent / "bench.png")
        print("wrote build/bench.png")
    except ImportError:
        print("no picture: pip install matplotlib")
    return 0


if __name__ == "__main__":
    sys.exit(main())

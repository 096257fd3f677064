"""What comes out: build/bench.json, a table with ratios, and a picture."""

import json
import os
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

REFERENCE = "wireguard-go"


class Report:
    """Gathers rounds; a record is one metric of one implementation in one scenario."""

    def __init__(self, versions: dict[str, str]) -> None:
        self._versions = versions
        self._rounds: dict[tuple[str, str, str, str], list[float]] = {}

    def add(self, scenario: str, implementation: str, metric: str, unit: str, value: float) -> None:
        self._rounds.setdefault((scenario, implementation, metric, unit), []).append(value)

    def document(self) -> dict[str, Any]:
        keys = ("scenario", "implementation", "metric", "unit")
        return {
            "machine": _machine(),
            "versions": self._versions,
            "records": [
                {**dict(zip(keys, key, strict=True)), "rounds": rounds, "median": statistics.median(rounds)}
                for key, rounds in self._rounds.items()
            ],
        }

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document(), indent=1) + "\n")

    def print(self) -> None:
        """Medians, spread (half of max - min, in percent), and the ratio to the newest wireguard-go."""
        console = Console(width=None if os.isatty(1) else 140)
        table = Table(box=None, header_style="bold")
        for column in ("scenario", "metric", "implementation", "median", "spread", f"x {REFERENCE}"):
            table.add_column(
                column, justify="right" if column in ("median", "spread", f"x {REFERENCE}") else "left"
            )
        for (scenario, implementation, metric, unit), rounds in sorted(self._rounds.items()):
            median = statistics.median(rounds)
            base = self._rounds.get((scenario, REFERENCE, metric, unit))
            ratio = f"{median / statistics.median(base):.2f}" if base and statistics.median(base) else ""
            spread = f"{(max(rounds) - min(rounds)) / 2 / median * 100:.0f} %" if median else ""
            table.add_row(scenario, metric, implementation, f"{median:.3g} {unit}", spread, ratio)
        console.print(table)

    def draw(self, path: Path) -> None:
        """One small bar chart a scenario and metric. Needs matplotlib."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        charts = sorted({(scenario, metric, unit) for scenario, _, metric, unit in self._rounds})
        columns = 3
        rows = -(-len(charts) // columns)
        figure, axes = pyplot.subplots(rows, columns, figsize=(15, 3 * rows), squeeze=False)
        for axis in axes.flat[len(charts) :]:
            axis.set_visible(False)
        for axis, (scenario, metric, unit) in zip(axes.flat, charts, strict=False):
            found = {
                i: r for (s, i, m, u), r in self._rounds.items() if (s, m, u) == (scenario, metric, unit)
            }
            medians = [statistics.median(rounds) for rounds in found.values()]
            errors = [
                [m - min(r) for m, r in zip(medians, found.values(), strict=True)],
                [max(r) - m for m, r in zip(medians, found.values(), strict=True)],
            ]
            axis.barh(list(found), medians, xerr=errors)
            axis.set_title(f"{scenario}: {metric} ({unit})", fontsize=9)
            axis.tick_params(labelsize=8)
        figure.tight_layout()
        figure.savefig(path, dpi=80)


def _machine() -> dict[str, Any]:
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "",
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "architecture": os.uname().machine,
    }

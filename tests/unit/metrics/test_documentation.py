"""docs/metrics.md against the table, the rules and the settings."""

import re
from pathlib import Path

from controller import exporter, status
from dashboards import build
from wgbpf.config.settings import Settings
from wgbpf.metrics import table

TEXT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


def test_the_table_is_the_table() -> None:
    rows = [line for line in TEXT.splitlines() if re.match(r"\| `[a-z]", line)]
    assert rows == [f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.help} |" for m in table.TABLE]


def test_the_alerts_are_the_alerts() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `Wgbpf")]
    assert rows == [
        f"| `{a['alert']}` | {a['severity']} | {a['for']} | {a['summary']} |" for a in build.alerts()
    ]


def test_the_numbers_are_those_of_the_code() -> None:
    assert Settings().metrics_listen in TEXT
    assert f"`metrics_peers` ({Settings().metrics_peers})" in TEXT
    assert f"{exporter._MAX_CLIENTS} clients" in TEXT
    assert f"each has {exporter._CLIENT_TIMEOUT:.0f} s" in TEXT
    assert f"is given {status._THREAD_TIMEOUT:.0f} s" in TEXT


def test_no_other_name_is_written_that_does_not_exist() -> None:
    known = {*table.BY_NAME, "wgbpf_peer_", "wgbpf_"}
    assert set(re.findall(r"\bwgbpf_[a-z_]*", TEXT)) <= known

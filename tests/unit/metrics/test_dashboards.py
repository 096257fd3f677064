"""Dashboard and rules: fresh, valid, and without a name that is not in the table."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from dashboards import build
from tests.prometheus import tool
from wgbpf.metrics import table

_KEYWORDS = {"sum", "by", "rate", "increase", "max", "on", "group_left", "time", "and", "or", "label_values"}
_KEYWORDS |= {"max_over_time"}
_OUTSIDE_METRICS = {"up"}
_OUTSIDE_LABELS = {"instance", "job", "interface"}


def expressions() -> list[str]:
    dashboard = json.loads(build.OVERVIEW.read_text())
    found = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    found += [v["query"]["query"] for v in dashboard["templating"]["list"] if isinstance(v["query"], dict)]
    return found + [alert["expr"] for alert in build.alerts()]


def unknown(expression: str) -> set[str]:
    """Names in an expression that are neither PromQL, nor a metric of the table, nor a label of one."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\[[^\]]*\]", "", bare)
    names = set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_]*", bare)) - _KEYWORDS
    metrics = names & table.BY_NAME.keys()
    labels = {label for metric in metrics for label in table.BY_NAME[metric].labels}
    return names - metrics - labels - _OUTSIDE_METRICS - _OUTSIDE_LABELS


def test_the_committed_files_are_what_the_script_writes() -> None:
    for path, text in build.files().items():
        assert path.read_text() == text, f"run: python -m dashboards.build ({path.name})"


@pytest.mark.parametrize("expression", expressions())
def test_no_expression_names_what_is_not_in_the_table(expression: str) -> None:
    assert unknown(expression) == set()


def test_a_wrong_name_or_label_is_found() -> None:
    assert unknown("sum(rate(wgbpf_nonsense_total[5m]))") == {"wgbpf_nonsense_total"}
    assert unknown("sum by (colour) (wgbpf_peers)") == {"colour"}
    assert unknown('wgbpf_sessions{state="x"}') == {"state"}


def test_every_panel_has_a_title_a_description_and_a_query() -> None:
    for panel in build.overview()["panels"]:
        assert panel["title"]
        assert panel["description"]
        assert panel["targets"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(
        [tool("promtool"), "check", "rules", build.ALERTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(build.alerts())} rules found" in done.stdout


def test_the_rules_fire_when_they_should_and_not_a_minute_before(tmp_path: Path) -> None:
    path = tmp_path / "tests.yaml"
    path.write_text(
        (build.HERE / "alerts-test.yaml").read_text().replace("wgbpf-alerts.yaml", str(build.ALERTS))
    )
    done = subprocess.run(
        [tool("promtool"), "test", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

"""A real Prometheus scrapes a live exporter and answers what the dashboard asks it."""

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.exporter import Exporter
from controller.status import _HANDSHAKE_ENDS
from dashboards import build
from tests.prometheus import tool
from wgbpf.datapath.interface import Direction
from wgbpf.metrics import table
from wgbpf.metrics.snapshot import Snapshot

from .samples import peer, snapshot
from .test_dashboards import expressions

Query = Callable[[str], list[Any]]
_VARIABLES = {"$instance": ".+", "$interface": ".+", "$__rate_interval": "5s"}
_LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")


def moving() -> Snapshot:
    """Every counter grows by more than one a second; handshakes are fresh."""
    steps = int(time.time() * 10) % 10**6
    still = snapshot(*(peer(n, traffic=1000 * steps) for n in range(3)))
    return snapshot(
        *still.peers,
        packets=dict.fromkeys(Direction, steps),
        bytes=dict.fromkeys(Direction, 1000 * steps),
        drops=dict.fromkeys(still.drops, steps),
        handshakes=dict.fromkeys(_HANDSHAKE_ENDS, steps),
        cookie_replies=steps,
    )


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)["data"]


@pytest.fixture(scope="module")
def query(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """Asks a Prometheus that has scraped an exporter a few times. Raises HTTPError for what is no PromQL."""
    directory = tmp_path_factory.mktemp("prometheus")
    exporter = Exporter("127.0.0.1:0", moving, 10)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "prometheus.yml"
    target = f"static_configs: [{{targets: ['127.0.0.1:{exporter.port}']}}]"
    rules = f"rule_files: [{build.ALERTS}]"
    config.write_text(
        f"global: {{scrape_interval: 1s}}\n{rules}\nscrape_configs:\n- job_name: wgbpf\n  {target}\n"
    )
    with (directory / "log").open("w") as log:
        program = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    base = f"http://127.0.0.1:{port}/api/v1"

    def ask(expression: str) -> list[Any]:
        for variable, value in _VARIABLES.items():
            expression = expression.replace(variable, value)
        wanted = _LABEL_VALUES.fullmatch(expression)
        if wanted:
            match = urllib.parse.urlencode({"match[]": wanted[1]})
            values: list[Any] = get(f"{base}/label/{wanted[2]}/values?{match}")
            return values
        result: list[Any] = get(f"{base}/query?" + urllib.parse.urlencode({"query": expression}))["result"]
        return result

    try:
        deadline = time.monotonic() + 40
        while True:
            assert program.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, (directory / "log").read_text()
            time.sleep(0.3)
            try:
                if ask("count_over_time(wgbpf_build_info[1m]) >= 7"):
                    break
            except OSError:
                continue
        yield ask
    finally:
        program.terminate()
        program.wait(10)
        exporter.stop()


def dashboard() -> list[str]:
    rules = {alert["expr"] for alert in build.alerts()}
    return [expression for expression in expressions() if expression not in rules]


@pytest.mark.parametrize("expression", dashboard())
def test_every_panel_and_variable_shows_something(query: Query, expression: str) -> None:
    assert query(expression)


def test_the_peer_table_has_a_row_for_each_peer_with_name_and_endpoint(query: Query) -> None:
    panel = next(p for p in build.overview()["panels"] if p["type"] == "table")
    for target in panel["targets"]:
        rows = query(target["expr"])
        assert {row["metric"]["name"] for row in rows} == {"name 0", "name 1", "name 2"}
        assert all(row["metric"]["endpoint"] for row in rows)


def test_rates_are_right(query: Query) -> None:
    """`moving` counts 10 packets and 10,000 bytes a second and way."""
    panels = {panel["title"]: panel for panel in build.overview()["panels"]}
    for target in panels["Throughput"]["targets"]:
        (series,) = query(target["expr"])
        assert float(series["value"][1]) == pytest.approx(80_000, rel=0.5)
    assert [float(s["value"][1]) for s in query(panels["Packets"]["targets"][0]["expr"])] == [
        pytest.approx(10, rel=0.5)
    ] * 2


@pytest.mark.parametrize("alert", build.alerts(), ids=lambda alert: alert["alert"])
def test_every_rule_runs(query: Query, alert: dict[str, str]) -> None:
    query(alert["expr"])


def test_what_is_no_promql_or_shows_nothing_is_found(query: Query) -> None:
    with pytest.raises(urllib.error.HTTPError):
        query("sum by (rate(wgbpf_peers)")
    assert query('wgbpf_peers{state="alive"}') == []


def test_every_metric_of_the_table_arrives(query: Query) -> None:
    missing = [name for name in table.BY_NAME if not query(name)]
    assert missing == []


def test_the_state_of_the_target_is_up(query: Query) -> None:
    assert [series["value"][1] for series in query('up{job="wgbpf"}')] == ["1"]


def test_prometheus_has_no_complaint_about_the_page(
    query: Query, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (log,) = tmp_path_factory.getbasetemp().glob("prometheus[0-9]*/log")
    text = log.read_text()
    assert "Server is ready" in text
    assert not re.search("level=(warn|error)", text), text

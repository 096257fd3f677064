"""Writes the dashboard and the alert rules: `python -m dashboards.build`. The results are committed."""

import json
from pathlib import Path
from typing import Any

from wgbpf.metrics import table
from wgbpf.metrics.table import Metric

HERE = Path(__file__).parent
OVERVIEW = HERE / "wgbpf-overview.json"
ALERTS = HERE / "wgbpf-alerts.yaml"

_SELECT = 'instance=~"$instance",interface=~"$interface"'
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24
_Json = dict[str, Any]
_INTERFACES = f'label_values({table.DATAPATH_INFO.name}{{instance=~"$instance"}}, interface)'


def _of(metric: Metric, **labels: str) -> str:
    """The series of a metric that the dashboard's variables and these patterns select."""
    more = "".join(f',{label}=~"{pattern}"' for label, pattern in labels.items())
    return f"{metric.name}{{{_SELECT}{more}}}"


def _rate(metric: Metric, **labels: str) -> str:
    return f"rate({_of(metric, **labels)}[$__rate_interval])"


def _query(expression: str, legend: str = "", **more: Any) -> _Json:
    return {"expr": expression, "legendFormat": legend or "__auto", "datasource": _SOURCE, **more}


def _panel(kind: str, title: str, description: str, queries: list[_Json], **more: Any) -> _Json:
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        query["refId"] = letter
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": _SOURCE,
        "targets": queries,
        "fieldConfig": {"defaults": more.pop("defaults", {}), "overrides": more.pop("overrides", [])},
        **more,
    }


def _stat(title: str, description: str, expression: str, **defaults: Any) -> _Json:
    return _panel("stat", title, description, [_query(expression)], defaults=defaults)


def _graph(title: str, description: str, queries: list[_Json], unit: str, **more: Any) -> _Json:
    return _panel("timeseries", title, description, queries, defaults={"unit": unit}, **more)


def _throughput() -> _Json:
    """Bits, what we send below the axis."""
    down = [{"id": "custom.transform", "value": "negative-Y"}]
    ways = {"receive": "received", "transmit": "sent"}
    return _graph(
        "Throughput",
        "Data messages without UDP and IP headers; sent is drawn below the axis.",
        [
            _query(
                f"sum by (interface) ({_rate(table.BYTES, direction=way)}) * 8", f"{{{{interface}}}} {word}"
            )
            for way, word in ways.items()
        ],
        "bps",
        overrides=[{"matcher": {"id": "byRegexp", "options": "/ sent$/"}, "properties": down}],
    )


def _peer_table() -> _Json:
    join = "* on (instance, interface, public_key) group_left (name, endpoint) "
    info = _of(table.PEER_INFO)
    columns = {
        "Age": f"(time() - {_of(table.PEER_HANDSHAKE)}) {join}{info}",
        "Received": f"{_rate(table.PEER_RECEIVE)} * 8 {join}{info}",
        "Sent": f"{_rate(table.PEER_TRANSMIT)} * 8 {join}{info}",
    }
    units = {"Age": "s", "Received": "bps", "Sent": "bps"}
    return _panel(
        "table",
        "Peers",
        "Age of the last handshake and traffic. An idle peer without keepalive rightly has an old handshake.",
        [_query(e, column, format="table", instant=True) for column, e in columns.items()],
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True, "job": True},
                    "renameByName": {
                        f"Value #{letter}": name for letter, name in zip("ABC", columns, strict=True)
                    },
                },
            },
        ],
        overrides=[
            {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
            for name, unit in units.items()
        ],
    )


_Row = tuple[int, list[_Json]]


def _rows() -> list[_Row]:
    """Height and panels; the panels of a row share its width."""
    total = f"sum({_of(table.PEERS, state='configured')})"
    active = f"sum({_of(table.PEERS, state='active')})"
    states = f"sum by (state) ({_of(table.PEERS, state='active|stale|never')})"
    packets = f"sum by (direction) ({_rate(table.PACKETS)})"
    handshakes = f"sum by (role, result) ({_rate(table.HANDSHAKES)})"
    drops = f"sum by (direction, reason) ({_rate(table.DROPS)}) > 0"
    cookies = f"max({_of(table.UNDER_LOAD)})"
    replies = f"sum by (interface) ({_rate(table.GUARD_COOKIES)})"
    return [
        (
            4,
            [
                _stat("Active peers", "Last handshake less than three minutes ago.", active),
                _stat("Configured peers", "All of them.", total),
                _stat("Sessions", "Live keypairs.", f"sum({_of(table.SESSIONS)})"),
                _stat("Under load", "1: handshakes must carry a cookie.", cookies),
                _stat("Handshake queue", "Messages that wait.", f"max({_of(table.BACKLOG)})"),
                _stat("Drops", "All reasons, per second.", f"sum({_rate(table.DROPS)})", unit="pps"),
            ],
        ),
        (
            8,
            [
                _throughput(),
                _graph("Packets", "Data messages.", [_query(packets, "{{direction}}")], "pps"),
            ],
        ),
        (
            8,
            [
                _graph(
                    "Handshakes", "By how they ended.", [_query(handshakes, "{{role}} {{result}}")], "ops"
                ),
                _graph("Drops", "By reason, if any.", [_query(drops, "{{direction}} {{reason}}")], "pps"),
                _graph(
                    "Cookie replies of the guard", "Sent from XDP.", [_query(replies, "{{interface}}")], "pps"
                ),
                _graph("Peers by state", "See the metric's help.", [_query(states, "{{state}}")], "short"),
            ],
        ),
        (10, [_peer_table()]),
    ]


def overview() -> _Json:
    panels: list[_Json] = []
    y = 0
    for height, row in _rows():
        width = _WIDTH // len(row)
        for position, panel in enumerate(row):
            panel["id"] = len(panels) + 1
            panel["gridPos"] = {"x": position * width, "y": y, "w": width, "h": height}
            panels.append(panel)
        y += height
    return {
        "title": "wgbpf overview",
        "uid": "wgbpf-overview",
        "tags": ["wgbpf", "wireguard"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
                _variable("instance", f"label_values({table.DATAPATH_INFO.name}, instance)"),
                _variable(
                    "interface",
                    _INTERFACES,
                ),
            ]
        },
        "panels": panels,
    }


def _variable(name: str, query: str) -> _Json:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
    }


def alerts() -> list[_Json]:
    """Names, expressions and words. Durations are Prometheus's."""
    peer = "{{ $labels.public_key }} on {{ $labels.interface }} ({{ $labels.instance }})"
    interface = "{{ $labels.interface }} ({{ $labels.instance }})"
    return [
        {
            "alert": "WgbpfPeerCannotRekey",
            "expr": (
                f"rate({table.PEER_TRANSMIT.name}[3m]) > 0 and "
                f"time() - {table.PEER_HANDSHAKE.name} > {table.PEER_ACTIVE_SECONDS}"
            ),
            # Longer than the range: else every peer that falls silent looks for a while as if we still sent.
            "for": "4m",
            "severity": "warning",
            "summary": "Traffic for a peer finds no session.",
            "description": f"We send to {peer}, but its last handshake is older than any key may be.",
        },
        {
            "alert": "WgbpfControllerDown",
            "expr": f"up == 0 and on (instance, job) max_over_time({table.BUILD_INFO.name}[1d])",
            "for": "2m",
            "severity": "critical",
            "summary": "The controller cannot be scraped any more.",
            "description": (
                "Nothing answers on {{ $labels.instance }}: the controller has ended, or nothing reaches it."
            ),
        },
        {
            "alert": "WgbpfControllerUnreachable",
            "expr": f"{table.COLLECTOR_SUCCESS.name} == 0",
            "for": "2m",
            "severity": "critical",
            "summary": "The exporter answers, but the controller does not.",
            "description": "The controller on {{ $labels.instance }} has not answered for two minutes.",
        },
        {
            "alert": "WgbpfReloadFailed",
            "expr": f"{table.RELOAD_OK.name} == 0",
            "for": "5m",
            "severity": "warning",
            "summary": "A changed configuration was refused.",
            "description": f"The configuration of {interface} has an error; the previous one runs on.",
        },
        {
            "alert": "WgbpfHandshakesFail",
            "expr": (
                f'increase({table.DROPS.name}{{reason="bad_handshake"}}[10m]) > 20 or '
                f'increase({table.HANDSHAKES.name}{{result=~"timed_out|unconfirmed"}}[10m]) > 20'
            ),
            "for": "5m",
            "severity": "warning",
            "summary": "Handshakes keep failing.",
            "description": f"Many handshakes on {interface} do not complete: a wrong preshared key, or loss.",
        },
        {
            "alert": "WgbpfUnderLoad",
            "expr": f"{table.UNDER_LOAD.name} == 1",
            "for": "1m",
            "severity": "warning",
            "summary": "Handshakes flood in.",
            "description": f"{interface} has asked handshakes for cookies for more than a minute.",
        },
    ]


def alerts_yaml() -> str:
    lines = ["# Generated by `python -m dashboards.build`.", "groups:", "  - name: wgbpf", "    rules:"]
    for alert in alerts():
        lines += [
            f"      - alert: {alert['alert']}",
            f"        expr: {json.dumps(alert['expr'])}",
            f"        for: {alert['for']}",
            "        labels:",
            f"          severity: {alert['severity']}",
            "        annotations:",
            f"          summary: {json.dumps(alert['summary'])}",
            f"          description: {json.dumps(alert['description'])}",
        ]
    return "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    return {OVERVIEW: json.dumps(overview(), indent=1, sort_keys=True) + "\n", ALERTS: alerts_yaml()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
        print(f"wrote {path.name}")

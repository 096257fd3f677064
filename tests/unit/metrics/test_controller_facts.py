"""What a real controller engine tells: every label value from the start, ten thousand peers in time."""

import asyncio
import os
import re
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.engine import Engine
from controller.exporter import Exporter
from controller.status import Facts
from controller.timestamps import TimestampStore
from wgbpf.datapath.interface import Direction
from wgbpf.datapath.netlink import Netlink
from wgbpf.datapath.tun import TunDataPath
from wgbpf.metrics import table
from wgbpf.protocol.changes import AllowedIpChange, DeviceChange, PeerChange
from wgbpf.protocol.device import Device
from wgbpf.protocol.drops import Drop
from wgbpf.protocol.indices import IndexAllocator

from .test_dashboards import expressions

_MATCHER = re.compile(r"(\w+)\{([^}]*)\}")
_PAIR = re.compile(r'(\w+)=~?"([^"]*)"')


@contextmanager
def controller(state: Path, peers: int) -> Iterator[Exporter]:
    """An engine on a loop of its own, as in the daemon, with a data path that is not open; and its exporter."""
    ready = threading.Event()
    made: list[Exporter] = []

    async def live() -> None:
        netlink = Netlink()
        datapath = TunDataPath(netlink)
        indices = IndexAllocator(os.urandom, 0, 0, datapath.slot_bits)
        device = Device(os.urandom, indices, offload=True)
        engine = Engine(device, datapath, TimestampStore(state / "wg0.tai64n"))
        changes = (
            PeerChange(
                os.urandom(32),
                allowed_ips=(AllowedIpChange(ip_network(f"10.{n >> 8}.{n & 255}.0/24")),),
            )
            for n in range(peers)
        )
        device.configure(DeviceChange(peers=tuple(changes)), 0.0)
        loop = asyncio.get_running_loop()
        facts = Facts(engine, "wg0", ["eth0"], {})
        made.append(Exporter("127.0.0.1:0", facts.for_threads(loop), 500))
        stop.append(end := asyncio.Event())
        loops.append(loop)
        ready.set()
        await end.wait()
        made[0].stop()
        engine.stop()
        netlink.close()

    stop: list[asyncio.Event] = []
    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    assert ready.wait(30)
    try:
        yield made[0]
    finally:
        loops[0].call_soon_threadsafe(stop[0].set)
        thread.join(10)
    assert not thread.is_alive()


def get(exporter: Exporter) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    with controller(tmp_path_factory.mktemp("state"), peers=3) as exporter:
        return get(exporter)


def label_values(page: str) -> dict[tuple[str, str], set[str]]:
    """Every value by metric and label."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            for label, value in sample.labels.items():
                found[sample.name, label].add(value)
    return found


def wrong_values(expression: str, page: str) -> set[str]:
    """Literal label values in an expression that this controller does not export."""
    known = label_values(page)
    wrong = set()
    for name, matchers in _MATCHER.findall(expression):
        for label, pattern in _PAIR.findall(matchers):
            if not pattern.startswith("$"):
                wrong |= set(pattern.split("|")) - known[name, label]
    return wrong


def test_every_enumerated_label_value_is_there_before_anything_happened(page: str) -> None:
    known = label_values(page)
    assert known["wgbpf_drops_total", "reason"] >= {reason.value for reason in Drop}
    own = TunDataPath(Netlink()).counters().drops
    assert known["wgbpf_drops_total", "reason"] >= {reason for _, reason in own}
    for counter in ("wgbpf_packets_total", "wgbpf_bytes_total", "wgbpf_drops_total"):
        assert known[counter, "direction"] == {direction.value for direction in Direction}
    assert known["wgbpf_handshakes_total", "role"] == {"initiator", "responder"}
    assert known["wgbpf_handshakes_total", "result"] == {"completed", "timed_out", "unconfirmed"}
    assert known["wgbpf_peers", "state"] == {"configured", "active", "stale", "never"}


def test_all_counters_of_the_interface_start_at_zero(page: str) -> None:
    for family in text_string_to_metric_families(page):
        if family.name.startswith("wgbpf_") and family.type == "counter":
            assert {sample.value for sample in family.samples} == {0.0}, family.name


def test_a_real_controller_exports_every_family_of_the_table_and_no_other(page: str) -> None:
    exported = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE wgbpf_")}
    assert exported == set(table.BY_NAME)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in table.BY_NAME:
                assert set(sample.labels) == set(table.BY_NAME[sample.name].labels)


@pytest.mark.parametrize("expression", expressions())
def test_no_expression_looks_for_a_label_value_that_never_comes(expression: str, page: str) -> None:
    assert wrong_values(expression, page) == set()


def test_a_wrong_label_value_is_found(page: str) -> None:
    assert wrong_values('sum(wgbpf_peers{instance=~"$instance",state="alive"})', page) == {"alive"}
    assert wrong_values('rate(wgbpf_handshakes_total{result=~"timed_out|timeout"}[5m])', page) == {"timeout"}


def test_ten_thousand_peers_are_answered_well_within_a_second(tmp_path: Path) -> None:
    with controller(tmp_path, peers=10_000) as exporter:
        began = time.monotonic()
        text = get(exporter)
        seconds = time.monotonic() - began
    assert 'wgbpf_peers{interface="wg0",state="never"} 10000.0' in text
    assert 'wgbpf_peers_capped{interface="wg0"} 9500.0' in text
    assert text.count("\nwgbpf_peer_receive_bytes_total{") == 500
    assert seconds < 1

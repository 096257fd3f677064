"""The collector and the exporter, scraped for real."""

import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from controller.exporter import Exporter, split_address
from tests.prometheus import tool
from wgbpf.metrics import table
from wgbpf.metrics.collector import WgbpfCollector
from wgbpf.metrics.snapshot import Snapshot
from wgbpf.protocol.drops import Drop

from .samples import peer, snapshot


def scrape(collector: WgbpfCollector) -> str:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def text_of(s: Snapshot, cap: int = 100) -> str:
    return scrape(WgbpfCollector(lambda: s, cap))


def test_peers_are_counted_by_state_and_a_handshake_that_never_was_has_no_series() -> None:
    text = text_of(snapshot(peer(1, 60), peer(2, 179), peer(3, 181), peer(4, None)))
    for state, count in (("configured", 4), ("active", 2), ("stale", 1), ("never", 1)):
        assert f'wgbpf_peers{{interface="wg0",state="{state}"}} {count}.0' in text
    assert text.count("wgbpf_peer_last_handshake_timestamp_seconds{") == 3
    assert 'wgbpf_peer_receive_bytes_total{interface="wg0",public_key="key4="} 1000.0' in text


def test_every_drop_reason_is_there_at_zero() -> None:
    text = text_of(snapshot())
    for reason in Drop:
        assert f'reason="{reason.value}"}} 0.0' in text


def test_names_and_endpoints_stand_on_the_info_metric_only() -> None:
    text = text_of(snapshot(peer(1)))
    with_name = [line for line in text.splitlines() if "name 1" in line or "192.0.2.1" in line]
    assert len(with_name) == 1
    assert with_name[0].startswith("wgbpf_peer_info{")


def test_the_cap_keeps_the_busiest_and_says_how_many_it_left_out() -> None:
    peers = [peer(n, traffic=n) for n in range(10)]
    collector = WgbpfCollector(lambda: snapshot(*peers), 3)
    text = scrape(collector)
    assert 'wgbpf_peers_capped{interface="wg0"} 7.0' in text
    assert {n for n in range(10) if f'wgbpf_peer_info{{endpoint="192.0.2.1:{n}"' in text} == {7, 8, 9}
    # Later only what is recent counts.
    peers[0] = peer(0, traffic=1_000_000)
    collector._latest_at -= 2
    assert 'endpoint="192.0.2.1:0"' in scrape(collector)


def test_scrapes_within_a_second_share_one_snapshot() -> None:
    asked: list[int] = []

    def ask() -> Snapshot:
        asked.append(1)
        return snapshot()

    collector = WgbpfCollector(ask, 1)
    scrape(collector)
    scrape(collector)
    assert len(asked) == 1
    collector._latest_at -= 1.1
    scrape(collector)
    assert len(asked) == 2


def test_a_controller_that_does_not_answer_is_no_empty_success() -> None:
    def fail() -> Snapshot:
        raise TimeoutError

    text = scrape(WgbpfCollector(fail, 1))
    assert 'wgbpf_collector_success{collector="controller"} 0.0' in text
    assert "wgbpf_peers{" not in text
    assert 'wgbpf_collector_success{collector="controller"} 1.0' in text_of(snapshot())


def test_what_is_exported_is_what_the_table_says() -> None:
    text = text_of(snapshot(peer(1)))
    exported = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert exported == set(table.BY_NAME)
    for metric in table.TABLE:
        assert metric.name.startswith("wgbpf_")
        assert metric.name.endswith("_total") == (metric.kind is table.Kind.COUNTER)


# --- over HTTP ----------------------------------------------------------------------------------------


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    peers = [peer(n) for n in range(10_000)]
    made = Exporter("127.0.0.1:0", lambda: snapshot(*peers), 500)
    yield made
    made.stop()


def get(exporter: Exporter, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}{path}", timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()


def test_metrics_page_and_nothing_else(exporter: Exporter) -> None:
    assert "/metrics" in get(exporter, "/")
    assert "process_resident_memory_bytes" in get(exporter)
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(exporter, "/etc/passwd")
    assert caught.value.code == 404


def test_promtool_has_no_complaint(exporter: Exporter) -> None:
    text = "\n".join(line for line in get(exporter).splitlines() if "wgbpf" in line) + "\n"
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_ten_thousand_peers_are_answered_within_the_scrape_timeout(exporter: Exporter) -> None:
    began = time.monotonic()
    assert 'state="configured"} 10000.0' in get(exporter)
    assert time.monotonic() - began < 10


def test_silent_clients_do_not_keep_others_out_and_stop_is_prompt() -> None:
    made = Exporter("127.0.0.1:0", snapshot, 1)
    silent = [socket.create_connection(("127.0.0.1", made.port)) for _ in range(10)]
    assert "wgbpf_build_info" in get(made)
    began = time.monotonic()
    made.stop()
    assert time.monotonic() - began < 2
    for client in silent:
        client.close()


def test_a_port_in_use_is_an_oserror_and_nonsense_too(exporter: Exporter) -> None:
    with pytest.raises(OSError, match="in use"):
        Exporter(f"127.0.0.1:{exporter.port}", snapshot, 1)
    for text in ("9586", "a:b", "1.2.3.4:99999"):
        with pytest.raises(OSError, match="ADDR:PORT"):
            split_address(text)
    assert split_address("[::1]:9586") == ("::1", 9586)


def test_a_real_prometheus_scrapes_it(exporter: Exporter, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "p.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"- job_name: wgbpf\n  static_configs: [{{targets: ['127.0.0.1:{exporter.port}']}}]\n"
    )
    program = subprocess.Popen(
        [
            tool("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/api/v1/query?query=wgbpf_peers%7Bstate%3D%22configured%22%7D"
        deadline = time.monotonic() + 30
        body = ""
        while '"10000"' not in body:
            assert time.monotonic() < deadline, body
            time.sleep(0.3)
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    body = answer.read().decode()
            except OSError:
                continue
    finally:
        program.terminate()
        program.wait(10)
    assert threading.active_count() < 50

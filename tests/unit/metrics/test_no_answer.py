"""A controller that hangs or fails: every scrape ends in time and says why."""

import logging
import threading
import time

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from wgbpf.metrics.collector import WgbpfCollector
from wgbpf.metrics.snapshot import Snapshot

from .samples import snapshot

FAILED = b'wgbpf_collector_success{collector="controller"} 0.0'


def scrape(collector: WgbpfCollector) -> bytes:
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry)


def at_once(collector: WgbpfCollector, count: int) -> tuple[list[bytes], float]:
    """What `count` simultaneous scrapes get, and how long the last one took."""
    pages: list[bytes] = []
    threads = [threading.Thread(target=lambda: pages.append(scrape(collector))) for _ in range(count)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return pages, time.monotonic() - began


def test_the_reason_is_logged_also_when_the_error_carries_no_words(caplog: pytest.LogCaptureFixture) -> None:
    def time_out() -> Snapshot:
        raise TimeoutError

    with caplog.at_level(logging.ERROR, "wgbpf"):
        scrape(WgbpfCollector(time_out, 1))
    assert [record.getMessage() for record in caplog.records] == [
        "metrics: the controller could not be asked: TimeoutError"
    ]


def test_simultaneous_scrapes_of_a_hung_controller_wait_together_and_not_one_after_the_other() -> None:
    def hang() -> Snapshot:
        time.sleep(0.5)
        raise TimeoutError

    pages, seconds = at_once(WgbpfCollector(hang, 1), 6)
    assert len(pages) == 6
    assert all(FAILED in page for page in pages)
    assert seconds < 1.5


def test_simultaneous_scrapes_of_a_slow_controller_share_its_answer() -> None:
    asked: list[int] = []

    def slow() -> Snapshot:
        asked.append(1)
        time.sleep(0.3)
        return snapshot()

    pages, seconds = at_once(WgbpfCollector(slow, 1), 6)
    assert len(asked) == 1
    assert all(b"wgbpf_peers{" in page for page in pages)
    assert seconds < 1


def test_after_a_failure_the_next_scrape_asks_again() -> None:
    answers = [None, snapshot()]

    def recover() -> Snapshot:
        answer = answers.pop(0)
        if answer is None:
            raise RuntimeError("busy")
        return answer

    collector = WgbpfCollector(recover, 1)
    assert FAILED in scrape(collector)
    assert FAILED not in scrape(collector)

"""Turns a snapshot into metric families for prometheus_client."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from .. import __version__
from . import table
from .snapshot import PeerSample, Snapshot
from .table import Kind, Metric

log = logging.getLogger("wgbpf")

_NS = 1_000_000_000
_SHARED_SECONDS = 1.0


class NoAnswer(Exception):
    """The controller could not be asked; the message says why."""


class WgbpfCollector(Collector):
    """`snapshot` may raise and may block for as long as a scrape may last.

    Peers beyond `peer_cap` have no series of their own: those with the most bytes since the last scrape
    are kept. Scrapes within a second share one snapshot.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], peer_cap: int) -> None:
        self._snapshot = snapshot
        self._peer_cap = peer_cap
        self._lock = threading.Lock()
        self._latest: Snapshot | None = None
        self._latest_at = 0.0
        self._failure = ""
        self._failed_at = 0.0
        self._previous_bytes: dict[str, int] = {}
        self._shown: list[PeerSample] = []

    def describe(self) -> Iterable[Family]:
        return [_family(metric, []) for metric in table.TABLE]

    def collect(self) -> Iterator[Family]:
        began = time.monotonic()
        families: list[Family] = []
        try:
            with self._lock:
                families = list(self._families(self._fresh(began)))
        except Exception as error:  # noqa: BLE001  # whatever it is, an empty success would hide it
            log.error("metrics: the controller could not be asked: %s", _reason(error))
        yield _family(table.BUILD_INFO, [((__version__,), 1)])
        yield from families
        yield _family(table.COLLECTOR_SUCCESS, [(("controller",), bool(families))])
        yield _family(table.COLLECTOR_DURATION, [(("controller",), time.monotonic() - began)])

    def _fresh(self, began: float) -> Snapshot:
        """Who waited while another scrape asked shares its answer or failure: no second wait in a row."""
        if began < self._failed_at:
            raise NoAnswer(self._failure)
        if self._latest is None or began - self._latest_at > _SHARED_SECONDS:
            try:
                self._latest = self._snapshot()
            except Exception as error:
                self._failure, self._failed_at = _reason(error), time.monotonic()
                raise
            self._latest_at = time.monotonic()
            self._shown = self._busiest(self._latest.peers)
        return self._latest

    def _busiest(self, peers: tuple[PeerSample, ...]) -> list[PeerSample]:
        totals = {peer.public_key: peer.rx_bytes + peer.tx_bytes for peer in peers}
        before, self._previous_bytes = self._previous_bytes, totals
        if len(peers) <= self._peer_cap:
            return list(peers)
        recent = {key: total - before.get(key, 0) for key, total in totals.items()}
        return sorted(peers, key=lambda p: recent[p.public_key], reverse=True)[: self._peer_cap]

    def _families(self, s: Snapshot) -> Iterator[Family]:
        name = s.interface
        yield _family(table.DATAPATH_INFO, [((name, s.datapath, s.info.get("mode", "")), 1)])
        yield _family(table.PACKETS, [((name, d), n) for d, n in s.packets.items()])
        yield _family(table.BYTES, [((name, d), n) for d, n in s.bytes.items()])
        yield _family(table.DROPS, [((name, d, r), n) for (d, r), n in s.drops.items()])
        yield _family(table.HANDSHAKES, [((name, r, e), n) for (r, e), n in s.handshakes.items()])
        yield _family(table.COOKIE_REPLIES, [((name,), s.cookie_replies)])
        yield _family(table.UNDER_LOAD, [((name,), s.under_load)])
        yield _family(table.GUARD_ON, [((name,), s.guard.on)])
        yield _family(table.GUARD_UNDER_LOAD, [((name,), s.guard.under_load)])
        yield _family(table.GUARD_COOKIES, [((name,), s.guard.cookies_sent)])
        yield _family(table.BACKLOG, [((name,), s.backlog)])
        yield _family(table.SESSIONS, [((name,), s.sessions)])
        yield _family(table.PEERS, [((name, state), n) for state, n in _states(s).items()])
        yield _family(table.PEERS_CAPPED, [((name,), len(s.peers) - len(self._shown))])
        yield from self._peer_families(name)
        yield _family(table.RELOAD_OK, [((name,), s.reload_ok)])
        yield _family(table.RELOAD_TIME, [((name,), s.reload_time)])

    def _peer_families(self, name: str) -> Iterator[Family]:
        shown = self._shown
        yield _family(table.PEER_INFO, [((name, p.public_key, p.name, p.endpoint), 1) for p in shown])
        yield _family(table.PEER_RECEIVE, [((name, p.public_key), p.rx_bytes) for p in shown])
        yield _family(table.PEER_TRANSMIT, [((name, p.public_key), p.tx_bytes) for p in shown])
        seen = [((name, p.public_key), p.last_handshake_ns / _NS) for p in shown if p.last_handshake_ns]
        yield _family(table.PEER_HANDSHAKE, seen)
        kept = [((name, p.public_key), p.persistent_keepalive) for p in shown if p.persistent_keepalive]
        yield _family(table.PEER_KEEPALIVE, kept)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _states(s: Snapshot) -> dict[str, int]:
    oldest_active = s.wall_ns - table.PEER_ACTIVE_SECONDS * _NS
    count = Counter(
        "never" if not p.last_handshake_ns else "active" if p.last_handshake_ns > oldest_active else "stale"
        for p in s.peers
    )
    return {"configured": len(s.peers), **{state: count[state] for state in ("active", "stale", "never")}}


def _family(metric: Metric, values: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family

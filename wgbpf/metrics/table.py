"""The one table of metric names. Exporter, dashboards and alerts know no name that is not here."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


def _counter(name: str, help_: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, help_, labels)


def _gauge(name: str, help_: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, help_, labels)


BUILD_INFO = _gauge("wgbpf_build_info", "Version of the controller.", "version")
DATAPATH_INFO = _gauge(
    "wgbpf_datapath_info", "Data path that carries packets.", "interface", "datapath", "mode"
)

PACKETS = _counter(
    "wgbpf_packets_total", "Data messages carried, keepalives included.", "interface", "direction"
)
BYTES = _counter(
    "wgbpf_bytes_total", "Bytes of data messages, without UDP and IP headers.", "interface", "direction"
)
DROPS = _counter("wgbpf_drops_total", "Packets and messages refused.", "interface", "direction", "reason")

HANDSHAKES = _counter("wgbpf_handshakes_total", "Handshakes that ended.", "interface", "role", "result")
COOKIE_REPLIES = _counter(
    "wgbpf_cookie_replies_total", "Cookie replies that the controller sent under load.", "interface"
)
UNDER_LOAD = _gauge("wgbpf_under_load", "1 while handshakes must carry a cookie.", "interface")
GUARD_ON = _gauge("wgbpf_guard_on", "1 where XDP judges handshakes before the stack.", "interface")
GUARD_UNDER_LOAD = _gauge(
    "wgbpf_guard_under_load", "1 while the guard asks everybody for cookies.", "interface"
)
GUARD_COOKIES = _counter(
    "wgbpf_guard_cookie_replies_total", "Cookie replies that the guard sent from XDP.", "interface"
)
BACKLOG = _gauge("wgbpf_handshake_queue_length", "Handshake messages that wait.", "interface")
SESSIONS = _gauge("wgbpf_sessions", "Live keypairs: previous, current and next of all peers.", "interface")

PEERS = _gauge(
    "wgbpf_peers",
    "Peers by last handshake: active (under 3 min), stale, never; configured counts all.",
    "interface",
    "state",
)
PEERS_CAPPED = _gauge("wgbpf_peers_capped", "Peers without series of their own.", "interface")
PEER_INFO = _gauge(
    "wgbpf_peer_info", "Name and endpoint of a peer.", "interface", "public_key", "name", "endpoint"
)
PEER_RECEIVE = _counter(
    "wgbpf_peer_receive_bytes_total",
    "Bytes of WireGuard messages from a peer, handshakes included.",
    "interface",
    "public_key",
)
PEER_TRANSMIT = _counter(
    "wgbpf_peer_transmit_bytes_total",
    "Bytes of WireGuard messages to a peer, handshakes included.",
    "interface",
    "public_key",
)
PEER_HANDSHAKE = _gauge(
    "wgbpf_peer_last_handshake_timestamp_seconds",
    "Unix time of the last completed handshake; absent when there was none.",
    "interface",
    "public_key",
)
PEER_KEEPALIVE = _gauge(
    "wgbpf_peer_persistent_keepalive_seconds",
    "Configured interval; absent when off.",
    "interface",
    "public_key",
)

RELOAD_OK = _gauge(
    "wgbpf_config_last_reload_successful", "1 when the last configuration was applied.", "interface"
)
RELOAD_TIME = _gauge(
    "wgbpf_config_last_reload_success_timestamp_seconds", "Unix time of the last applied one.", "interface"
)
COLLECTOR_SUCCESS = _gauge(
    "wgbpf_collector_success", "0 when the controller could not be asked.", "collector"
)
COLLECTOR_DURATION = _gauge("wgbpf_collector_duration_seconds", "Time to collect this scrape.", "collector")

TABLE: tuple[Metric, ...] = tuple(value for value in globals().copy().values() if isinstance(value, Metric))
BY_NAME = {metric.name: metric for metric in TABLE}

PEER_ACTIVE_SECONDS = 180
"""A peer is active when its last handshake is younger: sessions live no longer (REJECT_AFTER_TIME)."""

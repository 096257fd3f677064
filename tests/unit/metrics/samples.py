"""A snapshot to scrape."""

from dataclasses import replace
from ipaddress import ip_network

from wgbpf.datapath.interface import DataDrop, Direction, GuardState
from wgbpf.metrics.snapshot import CORE_DROPS, PeerSample, Snapshot
from wgbpf.protocol.actions import HandshakeResult, Role

NOW = 1_800_000_000 * 10**9


def peer(number: int, age: float | None = 60, traffic: int = 1000) -> PeerSample:
    """`age` of the last handshake in seconds; None: never."""
    latest = 0 if age is None else NOW - int(age * 10**9)
    return PeerSample(
        f"key{number}=",
        f"name {number}",
        f"192.0.2.1:{number}",
        traffic,
        2 * traffic,
        latest,
        25,
        (ip_network("::/0"),),
    )


def snapshot(*peers: PeerSample, **values: object) -> Snapshot:
    drops = {(Direction.RECEIVE, r.value): 0 for r in DataDrop}
    drops |= {(way, reason.value): 0 for way, reason in CORE_DROPS}
    base = Snapshot(
        interface="wg0",
        datapath="tun",
        info={},
        nics=("eth0",),
        public_key="key=",
        listen_port=51820,
        fwmark=0,
        mtu=1420,
        up=True,
        packets=dict.fromkeys(Direction, 7),
        bytes=dict.fromkeys(Direction, 7000),
        drops=drops,
        handshakes={
            (Role.INITIATOR, HandshakeResult.COMPLETED): 1,
            (Role.RESPONDER, HandshakeResult.UNCONFIRMED): 0,
        },
        cookie_replies=0,
        under_load=False,
        guard=GuardState(False, "no NIC"),
        backlog=0,
        sessions=1,
        reload_ok=True,
        reload_time=1.0,
        wall_ns=NOW,
        peers=peers,
    )
    return replace(base, **values)  # type: ignore[arg-type]

"""Against wireguard-go: every combination of roles, inner and outer family, with and without PSK."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from wgbpf.config.keys import encode_key, genpsk

from .lab import Lab, wait_until
from .nodes import Wgbpf, WireguardGo, metric
from .traffic import iperf3, udp_flow

pytestmark = pytest.mark.every_datapath


@dataclass
class Tunnel:
    ours: Wgbpf
    theirs: WireguardGo
    we_initiate: bool


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((we_initiate, family, psk), id=f"{who}-outer{family}-{'psk' if psk else 'nopsk'}")
        for we_initiate, who in ((True, "initiator"), (False, "responder"))
        for family in (4, 6)
        for psk in (True, False)
    ],
)
def tunnel(request: pytest.FixtureRequest, module_lab: Lab) -> Iterator[Tunnel]:
    we_initiate, family, with_psk = request.param
    psk = encode_key(genpsk(os.urandom)) if with_psk else None
    a, b = module_lab.host("a"), module_lab.host("b")
    module_lab.link(a, b)
    ours, theirs = Wgbpf(module_lab, a, 1), WireguardGo(module_lab, b, 2)
    ours.add_peer(theirs, family if we_initiate else None, psk)
    theirs.add_peer(ours, None if we_initiate else family, psk)
    ours.start()
    theirs.start()
    yield Tunnel(ours, theirs, we_initiate)
    a.stop_all()
    b.stop_all()


def test_the_first_ping_is_answered_and_the_right_side_initiated(tunnel: Tunnel) -> None:
    first, second = (tunnel.ours, tunnel.theirs) if tunnel.we_initiate else (tunnel.theirs, tunnel.ours)
    pings = first.host.ping(second.inner4, count=3, interval=0.1)
    assert pings.received == pings.sent == 3
    role = "initiator" if tunnel.we_initiate else "responder"
    text = tunnel.ours.metrics()
    assert metric(text, "wgbpf_handshakes_total", role=role, result="completed") == 1


def test_ping_both_families_both_ways_and_every_odd_size(tunnel: Tunnel) -> None:
    for source, target in ((tunnel.ours, tunnel.theirs), (tunnel.theirs, tunnel.ours)):
        for address in (target.inner4, target.inner6):
            for size in (0, 1, 15, 16, 17, 56, 1371, 1372, 1392, 3000):
                pings = source.host.ping(address, count=2, interval=0.02, size=size)
                assert pings.received == pings.sent, f"{size} bytes to {address}"


def test_tcp_both_families_both_ways(tunnel: Tunnel) -> None:
    for address in (tunnel.theirs.inner4, tunnel.theirs.inner6):
        for options in ((), ("-R",)):
            end = iperf3(tunnel.ours.host, tunnel.theirs.host, address, *options)
            assert end["sum_received"]["bytes"] > 100_000


def test_what_was_sent_minus_what_arrived_is_what_was_counted(tunnel: Tunnel) -> None:
    for address in (tunnel.theirs.inner4, tunnel.theirs.inner6):
        assert udp_flow(tunnel.ours.host, tunnel.theirs.host, address, 200, 1000, 1).lost == 0
    assert udp_flow(tunnel.theirs.host, tunnel.ours.host, tunnel.ours.inner4, 200, 1000, 1).lost == 0
    drops = tunnel.ours.drops()
    drops.pop("no_route", None)  # multicast of the interface coming up
    assert drops == {}


@pytest.mark.parametrize("we_initiate", [True, False])
def test_a_wrong_preshared_key_is_refused_and_counted(lab: Lab, we_initiate: bool) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4 if we_initiate else None, encode_key(genpsk(os.urandom)))
    theirs.add_peer(ours, None if we_initiate else 4, encode_key(genpsk(os.urandom)))
    ours.start()
    theirs.start()

    def handshakes(role: str, result: str) -> float:
        return metric(ours.metrics(), "wgbpf_handshakes_total", role=role, result=result)

    if we_initiate:
        assert a.ping(theirs.inner4, count=2, interval=0.5).received == 0
        wait_until(lambda: ours.drops().get("bad_handshake", 0) >= 1, 5, "their answer does not open")
    else:
        # A responder cannot tell, but the peer never confirms, and its next initiation shows it.
        b.start(["ping", "-c", "60", "-i", "0.5", ours.inner4])
        wait_until(lambda: handshakes("responder", "unconfirmed") >= 1, 15, "our answer is not confirmed")
    for role in ("initiator", "responder"):
        assert handshakes(role, "completed") == 0
    assert ours.latest_handshake(theirs) == 0

"""The socket that the native pump connects to a peer it talks with steadily: used, and never in the way."""

import sys

import pytest

from .lab import Lab, wait_until
from .nodes import Wgbpf, WireguardGo

STEADY = 40  # more than the pump waits for, quickly


def _connected(node: Wgbpf) -> list[str]:
    """Peers of connected UDP sockets, as ss(8) prints them."""
    return [line.split()[-1] for line in node.host.run("ss -Hun state established").splitlines()]


def _drops(node: Wgbpf) -> dict[str, int]:
    """But those of the router solicitations that any interface sends, and no peer wants."""
    return {reason: count for reason, count in node.drops().items() if reason != "no_route"}


def _talk(ours: Wgbpf, theirs: WireguardGo) -> None:
    wait_until(
        lambda: ours.host.ping(theirs.inner4, 1).received, 10, "neighbours know each other, keys are there"
    )
    assert ours.host.ping(theirs.inner4, STEADY, 0.01).received == STEADY


def _pair(lab: Lab, family: int) -> tuple[Wgbpf, WireguardGo]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    for host in (a, b):
        host.run("sysctl -qw net.ipv4.conf.all.promote_secondaries=1")
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, family)
    theirs.add_peer(ours, family)
    ours.options = ("--queues", "1")  # each has a connected socket
    ours.start()
    theirs.start()
    _talk(ours, theirs)
    return ours, theirs


def _exchange(node: Wgbpf | WireguardGo, new: str, old: str) -> None:
    nodad = ["nodad"] if ":" in new else []
    node.host.run(["ip", "addr", "add", new, "dev", "eth0", *nodad])
    node.host.run(["ip", "addr", "del", old, "dev", "eth0"])


@pytest.mark.parametrize("family", [4, 6])
def test_it_follows_the_peer(lab: Lab, family: int) -> None:
    ours, theirs = _pair(lab, family)
    before = _drops(ours)
    assert len(_connected(ours)) == 1
    assert theirs.outer(family).replace("db8:0::", "db8::") in _connected(ours)[0]
    new, old = ("192.0.2.77/24", "192.0.2.2/24") if family == 4 else ("2001:db8::77/64", "2001:db8::2/64")
    _exchange(theirs, new, old)
    theirs.wg("set", theirs.interface, "peer", ours.public_key, "endpoint", ours.outer(family))
    assert theirs.host.ping(ours.inner4, 3).received == 3
    _talk(ours, theirs)
    assert len(_connected(ours)) == 1
    assert new.partition("/")[0] in _connected(ours)[0]
    assert _drops(ours) == before


@pytest.mark.parametrize("family", [4, 6])
def test_our_address_goes_and_nothing_is_lost(lab: Lab, family: int) -> None:
    ours, theirs = _pair(lab, family)
    before = _drops(ours)
    new, old = ("192.0.2.66/24", "192.0.2.1/24") if family == 4 else ("2001:db8::66/64", "2001:db8::1/64")
    _exchange(ours, new, old)
    if family == 4:  # wireguard-go loses one or two with IPv6, whoever is at our end
        assert ours.host.ping(theirs.inner4, STEADY, 0.01).received == STEADY
    _talk(ours, theirs)
    local = ours.host.run("ss -Hun state established").split()[-2]
    assert new.partition("/")[0] in local
    assert _drops(ours) == before


def test_a_peer_that_comes_back_is_heard(lab: Lab) -> None:
    """While it is away its host refuses messages (ICMP), which a connected socket reports as errors."""
    ours, theirs = _pair(lab, 4)
    theirs.kill()
    assert ours.host.ping(theirs.inner4, STEADY, 0.01).received == 0
    theirs.start()
    assert theirs.host.ping(ours.inner4).received
    _talk(ours, theirs)
    assert len(_connected(ours)) == 1


def test_peers_take_turns(lab: Lab) -> None:
    """The one that is talked with now has the socket; the other one is served as well."""
    ours, first = _pair(lab, 4)
    second = WireguardGo(lab, lab.host("c"), 3)
    lab.link(ours.host, second.host)
    ours.add_peer(second, 4)
    second.add_peer(ours, 4)
    second.start()
    ours.apply()
    before = _drops(ours)
    for _ in range(2):
        for peer in (second, first):
            _talk(ours, peer)
            assert [peer.outer(4) in found for found in _connected(ours)] == [True]
    for _ in range(STEADY):
        assert ours.host.ping(first.inner4, 1).received == 1
        assert ours.host.ping(second.inner4, 1).received == 1
    assert _drops(ours) == before


def test_the_port_is_not_shared(lab: Lab) -> None:
    ours, _ = _pair(lab, 4)
    assert _connected(ours)
    share = "import socket,sys; s=socket.socket(2,2); s.setsockopt(1,15,1); s.bind(('',int(sys.argv[1])))"
    other = ours.host.try_run([sys.executable, "-c", share, str(ours.port)])
    assert "Address already in use" in other.stderr

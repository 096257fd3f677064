"""Endpoints move: the peer's address, ours, and the port; the session goes on."""

import pytest

from .lab import Lab, wait_until
from .nodes import Wgbpf, WireguardGo

pytestmark = pytest.mark.every_datapath


def _pair(lab: Lab) -> tuple[Wgbpf, WireguardGo]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    for host in (a, b):
        # Without this, deleting the first IPv4 address takes the second one of its subnet along.
        host.run("sysctl -qw net.ipv4.conf.all.promote_secondaries=1")
    return Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)


@pytest.mark.parametrize("family", [4, 6])
def test_the_peers_address_changes(lab: Lab, family: int) -> None:
    ours, theirs = _pair(lab)
    ours.add_peer(theirs)
    theirs.add_peer(ours, family)
    ours.start()
    theirs.start()
    assert theirs.host.ping(ours.inner4).received == 3
    before = ours.latest_handshake(theirs)
    new, old = ("192.0.2.77/24", "192.0.2.2/24") if family == 4 else ("2001:db8::77/64", "2001:db8::2/64")
    nodad = ["nodad"] if family == 6 else []
    theirs.host.run(["ip", "addr", "add", new, "dev", "eth0", *nodad])
    theirs.host.run(["ip", "addr", "del", old, "dev", "eth0"])
    # wireguard-go clings to the lost source address until its endpoint is set again.
    theirs.wg("set", theirs.interface, "peer", ours.public_key, "endpoint", ours.outer(family))
    # The peer's next packet tells where it is now; ours follow it there.
    assert theirs.host.ping(ours.inner4).received == 3
    assert ours.host.ping(theirs.inner4).received == 3
    assert new.partition("/")[0] in ours.dump()[1][2]
    assert ours.latest_handshake(theirs) == before


@pytest.mark.parametrize("family", [4, 6])
def test_our_address_changes(lab: Lab, family: int) -> None:
    ours, theirs = _pair(lab)
    ours.add_peer(theirs, family)
    theirs.add_peer(ours, family)
    ours.start()
    theirs.start()
    assert theirs.host.ping(ours.inner4).received == 3
    before = ours.latest_handshake(theirs)
    new, old = ("192.0.2.66/24", "192.0.2.1/24") if family == 4 else ("2001:db8::66/64", "2001:db8::1/64")
    nodad = ["nodad"] if family == 6 else []
    ours.host.run(["ip", "addr", "add", new, "dev", "eth0", *nodad])
    ours.host.run(["ip", "addr", "del", old, "dev", "eth0"])
    assert ours.host.ping(theirs.inner4, count=5).received == 5
    assert theirs.host.ping(ours.inner4, count=5).received == 5
    assert new.partition("/")[0] in theirs.dump()[1][2]
    assert ours.latest_handshake(theirs) == before


def test_a_multihomed_host_answers_from_the_address_that_was_asked(lab: Lab) -> None:
    """Two links between the same hosts: the reply leaves by the link the request came in on."""
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.nics = ("eth0", "eth1")
    ours.add_peer(theirs)
    theirs.add_peer(ours, 4)
    # The peer sends over the second link, from its address on the first: routing alone would answer
    # over the first, from another address than the one that was asked.
    theirs.peers[0].endpoint = f"192.0.3.1:{ours.port}"
    b.run("ip route replace 192.0.3.1/32 dev eth1 src 192.0.2.2")
    b.run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0")
    a.run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0")
    ours.start()
    theirs.start()
    capture = a.start(["tcpdump", "-n", "-l", "-i", "eth1", "udp", "and", "src", "host", "192.0.3.1"])
    wait_until(lambda: "listening" in capture.output, 5, "tcpdump listens")
    assert b.ping(ours.inner4, count=5).received == 5
    assert theirs.dump()[1][2] == f"192.0.3.1:{ours.port}"
    wait_until(lambda: capture.output.count("192.0.3.1.") >= 6, 5, "replies left by eth1 as 192.0.3.1")


def test_the_port_of_either_side_changes(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    assert ours.host.ping(theirs.inner4).received == 3
    theirs.wg("set", theirs.interface, "listen-port", "4001")
    assert theirs.host.ping(ours.inner4).received == 3
    assert ours.dump()[1][2].endswith(":4001")
    ours.wg("set", ours.interface, "listen-port", "4002", "fwmark", "7")
    assert ours.host.ping(theirs.inner4).received == 3
    assert theirs.dump()[1][2].endswith(":4002")
    assert ours.dump()[0][3] == "0x7"

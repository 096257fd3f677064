"""How the interface sits in the system: MTU, DS byte, ECN, marks, NICs, keys, the log."""

import re
import time
from pathlib import Path

import pytest

from wgbpf.config.keys import encode_key

from .lab import Host, Lab, Process, unique_interface, wait_until
from .nodes import Wgbpf, WireguardGo, cli


def _pair(lab: Lab, mtu: int = 1500) -> tuple[Wgbpf, WireguardGo]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b, mtu)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours)
    return ours, theirs


def _capture(host: Host, what: str) -> Process:
    process = host.start(["tcpdump", "-n", "-v", "-l", "-i", "eth0", *what.split()])
    wait_until(lambda: "listening" in process.output, 5, "tcpdump listens")
    return process


def _mtu(host: Host, interface: str) -> int:
    found = re.search(r"mtu (\d+)", host.run(f"ip link show {interface}"))
    assert found is not None
    return int(found[1])


def test_the_mtu_is_the_nics_less_80_and_follows_it(lab: Lab) -> None:
    ours, _ = _pair(lab, mtu=1400)
    ours.start()
    assert _mtu(ours.host, ours.interface) == 1320
    ours.host.run("ip link set eth0 mtu 1450")
    wait_until(lambda: _mtu(ours.host, ours.interface) == 1370, 5, "the MTU follows eth0")
    # An MTU that somebody else sets is theirs from then on.
    ours.host.run(f"ip link set {ours.interface} mtu 1300")
    time.sleep(0.3)
    ours.host.run("ip link set eth0 mtu 1500")
    time.sleep(0.5)
    assert _mtu(ours.host, ours.interface) == 1300


@pytest.mark.parametrize("family", [4, 6])
def test_handshakes_carry_af41_and_data_only_its_ecn(lab: Lab, family: int) -> None:
    ours, theirs = _pair(lab)
    ours.peers[0].endpoint = theirs.outer(family)
    ours.start()
    theirs.start()
    address = ours.host.address4 if family == 4 else ours.host.address6
    capture = _capture(theirs.host, f"udp and src host {address}")
    # DSCP EF with ECT(0) inside: nothing but the ECN may show outside.
    ours.host.run(["ping", "-c", "3", "-i", "0.1", "-Q", "0xba", theirs.inner4])
    wait_until(lambda: capture.output.count("length 128") >= 3, 5, "three data messages")
    tos, class_ = (
        r"tos (0x[0-9a-f]+)[^\n]*\n[^\n]*UDP, length (\d+)",
        r"class (0x[0-9a-f]+)[^\n]*UDP, length (\d+)",
    )
    found = re.findall(tos if family == 4 else class_, capture.output)
    seen = [(int(value, 16), int(length)) for value, length in found]
    assert (0x88, 148) in seen
    assert seen.count((2, 128)) >= 3
    assert {value for value, _ in seen} <= {0x88, 2, 0}


def test_congestion_on_the_way_is_marked_inside(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    ours.start()
    theirs.start()
    assert ours.host.ping(theirs.inner4).received == 3
    # wireguard-go sends DS 0; a queue on the way that marks CE is played by the sender's firewall.
    rule = "add table ip t; add chain ip t o { type filter hook output priority 0; };"
    rule += f" add rule ip t o oifname eth0 udp sport {theirs.port} ip ecn set ce"
    theirs.host.run(["nft", rule])
    inside = ours.host.start(["tcpdump", "-n", "-v", "-l", "-i", ours.interface, "icmp"])
    wait_until(lambda: "listening" in inside.output, 5, "tcpdump listens")
    theirs.host.run(["ping", "-c", "3", "-i", "0.1", "-Q", "0x02", ours.inner4])
    wait_until(lambda: inside.output.count("tos 0x3,CE") >= 3, 5, "three requests marked CE")
    # Not ECN-capable inside, CE outside: RFC 6040 says drop, and the reason is counted.
    theirs.host.try_run(["ping", "-c", "2", "-i", "0.1", "-W", "0.3", ours.inner4])
    assert ours.drops()["bad_ecn"] == 2


def test_the_fwmark_is_on_every_datagram(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    ours.start()
    theirs.start()
    assert ours.host.ping(theirs.inner4).received == 3
    ours.wg("set", ours.interface, "fwmark", "0x51")
    ours.host.run("ip rule add fwmark 0x51 blackhole")
    assert ours.host.ping(theirs.inner4, count=2, wait=0.3).received == 0
    ours.host.run("ip rule del fwmark 0x51 blackhole")
    assert ours.host.ping(theirs.inner4).received == 3


def test_nics_come_and_go_at_run_time(lab: Lab) -> None:
    ours, _ = _pair(lab)
    lab.link(ours.host, lab.hosts[1])
    ours.start()
    assert cli(ours.host, "attach", "eth1", "-i", ours.interface).returncode == 0
    assert ours.status()["nics"] == ["eth0", "eth1"]
    assert cli(ours.host, "detach", "eth0", "-i", ours.interface).returncode == 0
    assert ours.status()["nics"] == ["eth1"]
    assert cli(ours.host, "detach", "eth1", "-i", ours.interface).stdout == f"{ours.interface}: detached\n"
    assert ours.process is not None
    assert ours.process.wait(5) == 0


def test_without_a_file_a_key_is_made_once_and_kept(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    name = unique_interface()
    path = Path(f"/etc/wgbpf/{name}.key")
    keys = []
    for attempt in range(2):
        done = cli(a, "attach", "eth0", "-i", name)
        assert done.returncode == 0
        assert ("a private key was made" in done.stderr) == (attempt == 0)
        keys.append(a.run(["wg", "show", name, "private-key"]).strip())
        assert cli(a, "detach", "-i", name).returncode == 0
    assert keys[0] == keys[1] == path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600


def test_inner_packets_that_go_nowhere_are_answered_by_icmp(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    ours.peers[0].endpoint = None
    ours.start()
    ours.host.run(f"ip route add 10.88.0.0/16 dev {ours.interface}")
    ours.host.run(f"ip -6 route add fd88::/64 dev {ours.interface}")
    for address, answer in (
        ("10.88.0.1", "Destination Host Unreachable"),
        ("fd88::1", "Address unreachable"),
        (theirs.inner4, "Destination Host Unreachable"),
    ):
        done = ours.host.try_run(["ping", "-c", "1", "-W", "1", address])
        assert answer in done.stdout, done.stdout
    drops = ours.drops()
    assert drops["no_route"] >= 2
    assert drops["no_endpoint"] == 1


def test_the_log_names_peers_and_never_a_secret(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    psk = theirs.host.run("wg genpsk").strip()
    for node in (ours, theirs):
        node.peers[0].preshared_key = psk
        node.start()
    assert ours.host.ping(theirs.inner4).received == 3
    ours.apply()
    ours.host.try_run(["wg", "set", ours.interface, "listen-port", "1"])
    assert ours.process is not None
    log = ours.process.output
    assert re.search(r"peer\(.{4}….{4}\): handshake completed \(initiator\)", log)
    private = encode_key(ours.private_key)
    for secret in (private, psk, ours.private_key.hex()):
        assert secret[:20] not in log


def test_route_and_link_changes_are_followed(lab: Lab) -> None:
    """The peer's network moves behind another of our NICs; the session survives."""
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    b.run("ip addr add 198.51.100.2/32 dev lo")
    a.run("ip route add 198.51.100.2/32 via 192.0.2.2 dev eth0")
    ours.add_peer(theirs)
    ours.peers[0].endpoint = f"198.51.100.2:{theirs.port}"
    theirs.add_peer(ours)
    ours.start()
    theirs.start()
    assert a.ping(theirs.inner4).received == 3
    handshake = ours.latest_handshake(theirs)
    for host in (a, b):
        host.run(
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0"
        )
    a.run("ip route replace 198.51.100.2/32 via 192.0.3.2 dev eth1")
    time.sleep(0.3)
    capture = a.start(["tcpdump", "-n", "-l", "-i", "eth1", "udp"])
    wait_until(lambda: "listening" in capture.output, 5, "tcpdump listens")
    assert a.ping(theirs.inner4).received == 3
    wait_until(lambda: "> 198.51.100.2" in capture.output, 5, "it leaves by eth1")
    assert ours.latest_handshake(theirs) == handshake

"""wg(8) on our interface, every verb; and 1,000 peers."""

import os
import time
from dataclasses import dataclass

import pytest

from wgbpf.config.keys import encode_key, genkey, genpsk, pubkey

from .lab import Lab
from .nodes import PeerConfig, Wgbpf, WireguardGo


@dataclass
class Pair:
    ours: Wgbpf
    theirs: WireguardGo


@pytest.fixture
def pair(lab: Lab) -> Pair:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    assert a.ping(theirs.inner4).received == 3
    return Pair(ours, theirs)


def test_show_and_dump_tell_the_truth(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    text = ours.wg("show", ours.interface)
    for fact in (ours.public_key, theirs.public_key, "listening port: 51820", "latest handshake", "(hidden)"):
        assert fact in text
    lines = [line for line in ours.wg("show", "all", "dump").splitlines() if line.startswith(ours.interface)]
    first, peer = (line.split("\t") for line in lines)
    assert first == [ours.interface, encode_key(ours.private_key), ours.public_key, "51820", "off"]
    assert peer[1:5] == [theirs.public_key, "(none)", theirs.outer(4), "10.77.0.2/32,fd77::2/128"]
    assert abs(int(peer[5]) - time.time()) < 60
    # 3 echo replies of 84 B are padded to 96: 128 B messages; a keepalive or two and the handshake beside.
    assert 3 * 128 + 92 <= int(peer[6]) <= 3 * 128 + 92 + 148 + 2 * 32
    assert peer[8] == "off"


def test_set_changes_one_thing_at_a_time(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    psk = theirs.host.run(["wg", "genpsk"])
    ours.wg("set", ours.interface, "peer", theirs.public_key, "preshared-key", "/dev/stdin", stdin=psk)
    assert ours.dump()[1][1] == psk.strip()
    # A live session does not mind the new key (protocol, section 5).
    assert ours.host.ping(theirs.inner4).received == 3
    ours.wg("set", ours.interface, "peer", theirs.public_key, "persistent-keepalive", "21")
    ours.wg("set", ours.interface, "peer", theirs.public_key, "allowed-ips", "10.77.0.2/32,10.78.0.0/16")
    assert ours.dump()[1][3] == "10.77.0.2/32,10.78.0.0/16"
    assert ours.dump()[1][7] == "21"
    ours.wg("set", ours.interface, "peer", theirs.public_key, "remove")
    assert len(ours.dump()) == 1
    assert ours.host.ping(theirs.inner4, count=1, wait=0.3).received == 0
    assert ours.drops()["no_route"] >= 1


def test_a_prefix_given_to_another_peer_moves(pair: Pair) -> None:
    ours = pair.ours
    other = encode_key(pubkey(genkey(os.urandom)))
    ours.wg("set", ours.interface, "peer", other, "allowed-ips", "10.77.0.2/32")
    owned = {line[0]: line[3] for line in ours.dump()[1:]}
    assert owned == {pair.theirs.public_key: "fd77::2/128", other: "10.77.0.2/32"}
    # The inner source is no longer that peer's: its packets are refused and counted.
    assert pair.theirs.host.ping(ours.inner4, count=2, wait=0.3).received == 0
    assert ours.drops()["forbidden_source"] == 2


def test_setconf_addconf_and_showconf(pair: Pair) -> None:
    ours = pair.ours
    psk = encode_key(genpsk(os.urandom))
    extra = PeerConfig(encode_key(pubkey(genkey(os.urandom))), ("10.79.0.0/24",), "192.0.2.9:9", psk, 30)
    ours.wg("addconf", ours.interface, "/dev/stdin", stdin=extra.text())
    assert len(ours.dump()) == 3
    shown = ours.wg("showconf", ours.interface)
    assert f"PresharedKey = {psk}" in shown
    assert "PersistentKeepalive = 30" in shown
    ours.wg("setconf", ours.interface, "/dev/stdin", stdin=ours.config())
    assert len(ours.dump()) == 2
    ours.wg("setconf", ours.interface, "/dev/stdin", stdin=shown)
    assert ours.wg("showconf", ours.interface) == shown


def test_syncconf_of_the_same_file_changes_no_session(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    before = (ours.dump()[1][:5], ours.status()["handshakes"], ours.status()["sessions"])
    for _ in range(5):
        ours.apply()
        assert ours.host.ping(theirs.inner4, count=2).received == 2
    assert (ours.dump()[1][:5], ours.status()["handshakes"], ours.status()["sessions"]) == before


def test_a_learned_endpoint_survives_syncconf(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    theirs.wg("set", theirs.interface, "listen-port", "4001")
    assert theirs.host.ping(ours.inner4).received == 3
    ours.apply()
    assert ours.dump()[1][2].endswith(":4001")


def test_a_thousand_peers_are_set_and_set_again_without_touching_a_session(pair: Pair) -> None:
    ours, theirs = pair.ours, pair.theirs
    for n in range(1000):
        key = encode_key(pubkey(genkey(os.urandom)))
        inner = f"10.{100 + n // 250}.{n % 250}.0/24"
        ours.peers.append(PeerConfig(key, (inner, f"fd99:{n:x}::/64"), f"192.0.2.9:{1000 + n}"))
    ours.apply()
    assert len(ours.dump()) == 1002
    assert ours.host.ping(theirs.inner4).received == 3
    sessions = ours.status()["sessions"]
    ours.apply()
    assert ours.status()["sessions"] == sessions
    text = ours.metrics()
    assert f'wgbpf_peers{{interface="{ours.interface}",state="configured"}} 1001.0' in text
    assert f'wgbpf_peers_capped{{interface="{ours.interface}"}} 501.0' in text


def test_wrong_requests_leave_everything_as_it_was(pair: Pair) -> None:
    ours = pair.ours
    before = ours.wg("showconf", ours.interface)
    script = """
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(3)
s.sendall(sys.stdin.buffer.read()); print(s.recv(4096).decode().strip())
"""
    path = f"/var/run/wireguard/{ours.interface}.sock"
    key = pubkey(genkey(os.urandom)).hex()
    for request, answer in (
        (f"set=1\npublic_key={key}\nnonsense=1\n\n", "errno=-22"),
        (f"set=1\npublic_key={key}\nno equals sign\n\n", "errno=-71"),
        (f"set=1\nreplace_peers=true\npublic_key={key}\nendpoint=1.2.3.4:99999\n\n", "errno=-22"),
        (f"set=1\nlisten_port=1\npublic_key={key[:-1]}\n\n", "errno=-22"),
        (f"set=1\npublic_key={key}\nprotocol_version=2\n\n", "errno=-22"),
        (f"set=1\npublic_key={key}\nremove=yes\n\n", "errno=-22"),
        ("get=1\nx=1\n\n", "errno=-22"),
        ("hello=1\n\n", ""),
    ):
        assert ours.host.run(["python3", "-c", script, path], stdin=request).strip() == answer
    blocker = ours.host.start(
        ["python3", "-c", "import socket,time; s=socket.socket(2,2); s.bind(('',7777)); time.sleep(20)"]
    )
    time.sleep(0.3)
    refused = ours.host.try_run(["wg", "set", ours.interface, "listen-port", "7777"])
    assert refused.returncode == 1
    assert "in use" in refused.stderr
    blocker.stop()
    assert ours.wg("showconf", ours.interface) == before
    assert ours.host.ping(pair.theirs.inner4).received == 3

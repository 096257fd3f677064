"""The guard on real packets: cookies both ways, every refusal counted, nobody locked out."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.flood import Flood
from bench.flood.kinds import Kind, Target, messages, sources
from wgbpf.config.keys import encode_key, genkey, pubkey
from wgbpf.launch import ask

from .crowd import private_key
from .lab import Host, Lab, LabError, wait_until
from .nodes import PORT, Wgbpf, WireguardGo, cli, metric

_HERE = Path(__file__).parent
_CROWD = 200
_GUARDED = {"xdp": (), "tun": ("--guard", "on")}


def _ours(lab: Lab, host: Host, datapath: str, *options: str) -> Wgbpf:
    node = Wgbpf(lab, host, 1)
    node.datapath = datapath
    node.options = (*_GUARDED[datapath], *options)
    return node


def _status(node: Wgbpf) -> dict[str, Any]:
    """Without the start of a Python in between."""
    found: dict[str, Any] = ask(node.interface, {"verb": "status"})
    return found


def _drops(node: Wgbpf) -> Counter[str]:
    """Of what was received."""
    return Counter({d["reason"]: d["count"] for d in _status(node)["drops"] if d["direction"] == "receive"})


@contextmanager
def _under_load(lab: Lab, attacker: Host, victim: Wgbpf, rate: float, seconds: float) -> Iterator[Flood]:
    """Initiations with a right mac1 from everywhere, and the guard has noticed."""
    flood = Flood(
        lab,
        attacker,
        victim.host,
        PORT,
        messages(Kind.RIGHT_MAC1, Target(pubkey(victim.private_key))),
        sources(Kind.RIGHT_MAC1),
    )
    try:
        flood.start(rate, seconds, cpu=(os.cpu_count() or 1) - 1)
        wait_until(lambda: _status(victim)["guard"]["underLoad"], 5, "the guard is under load")
        yield flood
    finally:
        flood.close()


@pytest.mark.waits
@pytest.mark.parametrize(("kind", "options"), [("xdp", ()), ("tun", ()), ("xdp", ("--mode", "generic"))])
def test_a_wireguard_go_initiator_gets_a_cookie_retries_and_is_in(
    lab: Lab, kind: str, options: tuple[str, ...]
) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = _ours(lab, a, kind, *options), WireguardGo(lab, b, 2)
    ours.add_peer(theirs)
    theirs.add_peer(ours, 4)
    ours.start()
    with _under_load(lab, b, ours, 2000, 12):
        theirs.start()
        b.start(["ping", "-n", "-i", "0.2", ours.inner4])
        took = wait_until(lambda: ours.latest_handshake(theirs), 8, "the handshake completes")
    assert 4.5 < took < 6.5
    assert theirs.process is not None and "Receiving cookie response" in theirs.process.output
    guard = _status(ours)["guard"]
    assert guard["on"] and guard["cookiesSent"] > 1000


@pytest.mark.waits
def test_a_response_to_us_brings_a_cookie_too_while_we_are_under_load(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = _ours(lab, a, "xdp"), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours)
    ours.start()
    theirs.start()
    with _under_load(lab, b, ours, 2000, 14):
        a.start(["ping", "-n", "-i", "0.2", theirs.inner4])
        took = wait_until(lambda: ours.latest_handshake(theirs), 12, "the handshake completes")
    assert 4.5 < took < 6.5
    assert theirs.process is not None and "Receiving cookie response" in theirs.process.output


@pytest.mark.parametrize("kind", ["xdp"])
def test_we_take_a_cookie_of_wireguard_go_through_our_own_guard(lab: Lab, kind: str) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = _ours(lab, a, kind), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours)
    theirs.start()
    flood = Flood(
        lab,
        a,
        b,
        PORT,
        messages(Kind.RIGHT_MAC1, Target(pubkey(theirs.private_key))),
        sources(Kind.RIGHT_MAC1),
    )
    flood.start(40_000, 15, cpu=(os.cpu_count() or 1) - 1)
    time.sleep(1)
    ours.start()
    a.start(["ping", "-n", "-i", "0.2", theirs.inner4])
    wait_until(lambda: ours.latest_handshake(theirs), 13, "the handshake completes")
    flood.close()
    assert theirs.process is not None and "Sending cookie response" in theirs.process.output
    assert "unknown_index" not in ours.drops()


# --- every frame that was sent is counted ---


@pytest.fixture(scope="module", params=["xdp", "tun"])
def victim(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, Wgbpf, Host, bytes]]:
    """A guarded host, an attacker beside it, and the key of a peer that it knows."""
    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.link(a, b)
        ours, key = _ours(lab, a, request.param), genkey(os.urandom)
        ours.start()
        ours.wg("set", ours.interface, "peer", encode_key(pubkey(key)), "allowed-ips", "10.77.0.9/32")
        yield lab, ours, b, key


def _knock(ours: Wgbpf, attacker: Host, key: bytes) -> Target:
    script = [sys.executable, str(_HERE / "knock.py"), key.hex(), pubkey(ours.private_key).hex()]
    environment = {"PYTHONPATH": str(_HERE.parents[1])}
    text = attacker.run([*script, ours.host.address4, str(PORT)], env=environment)
    found = json.loads(text)
    return Target(pubkey(ours.private_key), bytes.fromhex(found["initiation"]), found["index"])


_EXPECTED = {
    Kind.RANDOM_BYTES: {"bad_type"},
    Kind.UNKNOWN_INDEX: {"unknown_index"},
    Kind.WRONG_MAC1: {"bad_mac1"},
    # In peace the first ones reach the core, which finds no peer in them.
    Kind.RIGHT_MAC1: {"cookie_required", "duplicate", "bad_handshake"},
    Kind.REPLAY: {"duplicate"},
    Kind.GARBAGE: {"bad_tag"},
    Kind.ONE_SOURCE: {"cookie_required", "duplicate", "bad_handshake"},
}


@pytest.mark.parametrize("kind", list(Kind))
def test_what_was_sent_is_what_was_counted(victim: tuple[Lab, Wgbpf, Host, bytes], kind: Kind) -> None:
    lab, ours, attacker, key = victim
    wait_until(lambda: not _status(ours)["guard"]["underLoad"], 5, "the guard is in peace")
    target = _knock(ours, attacker, key)
    flood = Flood(lab, attacker, ours.host, PORT, messages(kind, target), sources(kind))
    before = _drops(ours)
    flood.start(10_000, 1.2, cpu=(os.cpu_count() or 1) - 1)
    sent = flood.wait()
    flood.close()
    assert sent.refused == 0 and sent.frames > 10_000

    def counted() -> Counter[str]:
        return _drops(ours) - before

    wait_until(lambda: counted().total() >= sent.frames, 3, f"{sent.frames} are counted, not {counted()}")
    assert counted().total() == sent.frames
    assert set(counted()) <= _EXPECTED[kind], counted()
    if kind in (Kind.RIGHT_MAC1, Kind.ONE_SOURCE):
        assert counted()["bad_handshake"] < 500


def test_a_flood_leaves_the_lab_for_nowhere(victim: tuple[Lab, Wgbpf, Host, bytes]) -> None:
    lab, ours, attacker, _ = victim
    outside = Host("outside", "nowhere")
    for hosts in ((attacker, outside), (outside, ours.host)):
        with pytest.raises(LabError, match="refused"):
            Flood(lab, *hosts, PORT, [bytes(32)], 0)
    flood = Flood(lab, attacker, ours.host, PORT, [bytes(32)], 0)
    for rate, seconds in ((1, 61), (6e6, 1), (1, 0)):
        with pytest.raises(LabError, match="refused"):
            flood.start(rate, seconds)
    flood.close()


# --- nobody is locked out ---


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xdp"])
def test_two_hundred_peers_behind_one_address_are_in_within_30_seconds_of_a_flood(
    lab: Lab, kind: str
) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, seed = _ours(lab, a, kind), os.urandom(8).hex()
    ours.start()
    peers = "".join(
        f"[Peer]\nPublicKey = {encode_key(pubkey(private_key(seed, n)))}\nAllowedIPs = 10.78.0.{n}/32\n"
        for n in range(_CROWD)
    )
    ours.wg("addconf", ours.interface, "/dev/stdin", stdin=peers)
    with _under_load(lab, b, ours, 100_000, 40):
        arguments = [seed, _CROWD, a.address4, PORT, pubkey(ours.private_key).hex(), 35]
        command = [sys.executable, str(_HERE / "crowd.py"), *map(str, arguments)]
        took = json.loads(b.run(command, timeout=60, env={"PYTHONPATH": str(_HERE.parents[1])}))
        assert _status(ours)["guard"]["underLoad"]
    assert None not in took
    assert max(took) < 30
    assert ours.drops().get("rate_limited", 0) < 2 * _CROWD


# --- where it is on, and why not ---


def _links(host: Host) -> tuple[str, str]:
    """With the XDP programs on them."""
    return host.run("ip -o -d link"), host.run("bpftool -j net show dev eth0")


def test_auto_is_on_for_xdp_and_off_for_tun_on_a_veth(lab: Lab) -> None:
    a = lab.host("a")
    lab.link(a, lab.host("b"))
    before = _links(a)
    for datapath, options, on, text in (
        ("xdp", (), True, "in the data path's program"),
        ("xdp", ("--guard", "off"), False, "turned off (--guard off)"),
        ("tun", (), False, "not on eth0: a veth: XDP would cost its peer segmentation offloads (--guard on)"),
        ("tun", ("--guard", "on"), True, "eth0 (native)"),
        ("tun", ("--guard", "on", "--mode", "generic"), True, "eth0 (generic)"),
    ):
        node = Wgbpf(lab, a, 1)
        node.datapath, node.options = datapath, options
        node.start()
        guard = _status(node)["guard"]
        assert (guard["on"], guard["text"]) == (on, text)
        assert cli(a, "detach", "-i", node.interface).returncode == 0
        wait_until(lambda: _links(a) == before, 3, f"{_links(a)} is {before}")


def test_status_and_metrics_tell_of_it(lab: Lab) -> None:
    a = lab.host("a")
    lab.link(a, lab.host("b"))
    for options, on in (((), True), (("--guard", "off"), False)):
        node = Wgbpf(lab, a, 1)
        node.datapath, node.options = "xdp", options
        node.start()
        assert f"guard: {'on, in' if on else 'off: turned off'}" in cli(a, "status", node.interface).stdout
        assert metric(node.metrics(), "wgbpf_guard_on") == on
        assert node.status()["guard"]["memory"] in (range(1, 20_000_000) if on else (0,))
        assert cli(a, "detach", "-i", node.interface).returncode == 0


def test_another_program_on_the_nic(lab: Lab) -> None:
    a = lab.host("a")
    lab.link(a, lab.host("b"))
    first, second = _ours(lab, a, "xdp"), Wgbpf(lab, a, 2)
    first.start()
    arguments = ("attach", "eth0", "-i", second.interface, "--datapath", "tun", "--metrics", "off")
    done = cli(a, *arguments, "--guard", "on")
    assert done.returncode == 1
    assert "eth0 carries the XDP program wg_ingress" in done.stderr
    done = cli(a, *arguments)
    assert done.returncode == 0, done.stderr
    assert not second.status()["guard"]["on"]


def test_sessions_older_than_the_guard_go_on_when_it_comes_with_another_nic(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.datapath, ours.nics, ours.options = "tun", ("eth1",), ("--guard", "on")
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    assert a.ping(theirs.inner4).received == 3
    assert cli(a, "attach", "eth0", "-i", ours.interface).returncode == 0
    assert b.ping(ours.inner4, count=20, interval=0.02).received == 20
    assert "unknown_index" not in ours.drops()
    assert cli(a, "detach", "eth0", "-i", ours.interface).returncode == 0
    assert b.ping(ours.inner4).received == 3

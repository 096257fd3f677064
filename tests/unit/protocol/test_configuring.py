"""A change is applied whole; one that changes nothing does nothing."""

from ipaddress import IPv4Address, ip_network

import pytest

from wgbpf.protocol import configuring
from wgbpf.protocol.actions import RemovePeer, RestrictSession, RetireSession, SetPeer
from wgbpf.protocol.addresses import Endpoint
from wgbpf.protocol.changes import AllowedIpChange, DeviceChange, PeerChange
from wgbpf.protocol.configuring import TooManyPeers
from wgbpf.protocol.crypto import ZERO_KEY, PrivateKey, Secret

from .sim import Sim, key, public


def _syncconf(sim: Sim, **values: object) -> DeviceChange:
    """What `wg syncconf` sends for the file that A already has."""
    peer = sim.ends["B"]
    change = PeerChange(
        public("B"),
        endpoint=peer.endpoint,
        replace_allowed_ips=True,
        allowed_ips=(AllowedIpChange(ip_network(f"{peer.inner}/32")),),
        preshared_key=Secret(ZERO_KEY),
        persistent_keepalive=0,
    )
    return DeviceChange(Secret(key("A")), 0, 0, bool(values.get("replace_peers")), (change,))


@pytest.mark.parametrize("replace_peers", [False, True])
def test_the_same_change_again_is_no_action_at_all(replace_peers: bool) -> None:
    sim = Sim.connected(offload=True)
    device = sim.ends["A"].device
    before = device.next_deadline()
    for _ in range(10):
        assert device.configure(_syncconf(sim, replace_peers=replace_peers), sim.now) == []
    assert device.next_deadline() == before
    assert device.session_count == 1


def test_repeating_a_set_every_second_resets_no_attempts() -> None:
    sim = Sim()
    sim.cut = {"A"}
    sim.send("A")
    for _ in range(130):
        sim.advance(1)
        sim.carry_out("A", sim.ends["A"].device.configure(_syncconf(sim), sim.now))
    assert sim.ends["A"].ended == [("initiator", "timed_out")]
    assert len(sim.times("A", "initiation")) == 20


def test_a_learned_endpoint_stays_until_another_is_configured() -> None:
    sim = Sim.connected()
    device = sim.ends["A"].device
    away = Endpoint(IPv4Address("198.51.100.1"), 9)
    device._state.set_path(device._state.peers[0], configuring.Path(away))
    device.configure(_syncconf(sim), sim.now)
    assert device.peers()[0].endpoint == away
    other = Endpoint(IPv4Address("198.51.100.2"), 9)
    device.configure(DeviceChange(peers=(PeerChange(public("B"), endpoint=other),)), sim.now)
    assert device.peers()[0].endpoint == other


def test_replace_peers_removes_the_others_and_added_ones_work_again() -> None:
    sim = Sim.connected(offload=True)
    device = sim.ends["A"].device
    actions = device.configure(DeviceChange(replace_peers=True), sim.now)
    assert [type(a) for a in actions] == [RetireSession, RemovePeer]
    assert device.peers() == []
    assert device.next_deadline() is None
    assert len(device._state.indices) == 0
    sim.ends["A"].sessions.clear()
    sim.ends["A"].sending = None
    sim.carry_out("A", device.configure(_syncconf(sim), sim.now))
    sim.forget()
    sim.send("A")
    assert len(sim.ends["B"].delivered) == 1


def test_a_moved_prefix_is_told_to_the_loser_before_the_winner() -> None:
    sim = Sim()
    device = sim.ends["A"].device
    prefix = (AllowedIpChange(ip_network("10.0.0.2/32")),)
    actions = device.configure(DeviceChange(peers=(PeerChange(public("C"), allowed_ips=prefix),)), sim.now)
    entries = [a.entry for a in actions if isinstance(a, SetPeer)]
    assert [(e.peer, e.allowed_ips) for e in entries] == [(0, ()), (1, (ip_network("10.0.0.2/32"),))]


def test_single_prefixes_are_added_and_removed() -> None:
    sim = Sim()
    device = sim.ends["A"].device

    def change(*prefixes: tuple[str, bool]) -> list[str]:
        items = tuple(AllowedIpChange(ip_network(text), remove) for text, remove in prefixes)
        device.configure(DeviceChange(peers=(PeerChange(public("B"), allowed_ips=items),)), sim.now)
        return [str(n) for n in device.peers()[0].allowed_ips]

    assert change(("10.5.0.0/16", False)) == ["10.0.0.2/32", "10.5.0.0/16"]
    assert change(("10.0.0.2/32", True), ("10.9.9.9/32", True)) == ["10.5.0.0/16"]


def test_update_only_makes_no_peer_and_remove_of_a_stranger_is_nothing() -> None:
    sim = Sim()
    device = sim.ends["A"].device
    stranger = (PeerChange(public("C"), update_only=True), PeerChange(public("D"), remove=True))
    assert device.configure(DeviceChange(peers=stranger), sim.now) == []
    assert len(device.peers()) == 1


def test_our_own_key_as_a_peer_is_ignored_and_a_new_key_removes_it() -> None:
    sim = Sim()
    device = sim.ends["A"].device
    assert device.configure(DeviceChange(peers=(PeerChange(public("A")),)), sim.now) == []
    device.configure(DeviceChange(private_key=Secret(key("B"))), sim.now)
    assert device.peers() == []


def test_a_new_private_key_ends_sending_on_live_sessions_but_not_receiving() -> None:
    sim = Sim.connected(offload=True)
    device = sim.ends["A"].device
    actions = device.configure(DeviceChange(private_key=Secret(key("new"))), sim.now)
    assert [type(a) for a in actions] == [RestrictSession]
    assert device.public_key == PrivateKey(key("new")).public
    assert device.session_count == 1
    again = device.configure(DeviceChange(private_key=Secret(key("new"))), sim.now)
    assert again == []


def test_zeros_take_the_private_key_away_and_handshakes_are_refused_by_name() -> None:
    sim = Sim()
    device = sim.ends["A"].device
    device.configure(DeviceChange(private_key=Secret(ZERO_KEY)), sim.now)
    assert device.private_key is None
    sim.send("A")
    assert sim.ends["A"].drops["no_private_key"] == 1
    sim.receive("A", bytes([1]) + bytes(147))
    assert sim.ends["A"].drops["no_private_key"] == 2


def test_too_many_peers_are_refused_with_nothing_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuring, "MAX_PEERS", 3)
    sim = Sim()
    device = sim.ends["A"].device
    peers = tuple(PeerChange(public(name)) for name in "CDE")
    with pytest.raises(TooManyPeers):
        device.configure(DeviceChange(listen_port=7, peers=peers), sim.now)
    assert (len(device.peers()), device.listen_port) == (1, 0)


def test_a_low_order_peer_key_never_makes_a_session_or_a_packet() -> None:
    sim = Sim()
    device = sim.ends["A"].device
    prefix = (AllowedIpChange(ip_network("10.0.0.2/32")),)
    low = PeerChange(bytes(32), endpoint=sim.ends["B"].endpoint, allowed_ips=prefix)
    device.configure(DeviceChange(peers=(low,)), sim.now)
    sim.send("A")
    assert sim.log == []
    assert sim.ends["A"].drops["bad_handshake"] == 1


def test_secrets_do_not_show() -> None:
    secret = Secret(b"k" * 32)
    assert "kkk" not in repr(secret) + repr(DeviceChange(private_key=secret)) + repr(PrivateKey(b"k" * 32))
    secret.wipe()
    assert not secret
    assert bytes(secret) == bytes(32)


def test_stamps_never_go_back_with_the_clock() -> None:
    sim = Sim()
    sim.cut = {"A"}
    device = sim.ends["A"].device
    device.set_timestamp_floor(1_900_000_000 * 10**9)
    sim.send("A")
    device.set_wall_clock(0)
    sim.advance(30)
    from wgbpf.protocol.messages import Initiation, parse
    from wgbpf.protocol.noise import consume_initiation

    messages = [parse(s.data) for s in sim.log if s.kind == "initiation"]
    stamps = [
        consume_initiation(PrivateKey(key("B")), m).timestamp for m in messages if isinstance(m, Initiation)
    ]
    assert len(stamps) == 6
    assert all(a < b for a, b in zip(stamps, stamps[1:], strict=False))
    assert int.from_bytes(stamps[0][:8], "big") - 2**62 - 10 >= 1_900_000_000

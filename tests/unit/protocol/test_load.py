"""Under load: cookies both ways, the limiter, replays (sections 5.3 and 5.4.7)."""

from ipaddress import IPv4Address

import pytest

from wgbpf.protocol.actions import Dropped, InstallSession, SendDatagram
from wgbpf.protocol.addresses import Endpoint, Path
from wgbpf.protocol.cookies import CookieMaker
from wgbpf.protocol.crypto import PrivateKey
from wgbpf.protocol.noise import create_initiation
from wgbpf.protocol.ratelimiter import RateLimiter
from wgbpf.protocol.tai64n import stamp

from .sim import WALL, Sim, key, public


def initiation(sender: str, now: float, index: int = 1, seed: str = "e") -> bytes:
    """One to B, with a good mac1, from anybody."""
    me = PrivateKey(key(sender))
    body = create_initiation(
        me,
        public("B"),
        me.dh(public("B")),
        index,
        PrivateKey(key(f"{seed}{index}")),
        stamp(WALL + int(now * 1e9)),
    )[0].pack()
    return CookieMaker(public("B")).stamp(body, now)


def at(number: int, port: int = 1000) -> Path:
    return Path(Endpoint(IPv4Address(0x0A000000 + number), port))


def load(sim: Sim, count: int = 512) -> None:
    """Fill B's queue with initiations of strangers; they stay in it."""
    for n in range(count):
        sim.ends["B"].device.receive(initiation("mallory", sim.now, n + 10), at(n), sim.now)


def test_load_begins_at_512_queued_and_sticks_for_a_second_after_it() -> None:
    sim = Sim()
    device = sim.ends["B"].device
    load(sim, 511)
    assert not device.under_load(sim.now)
    load_one = initiation("mallory", sim.now, 9999)
    device.receive(load_one, at(9999), sim.now)
    assert device.under_load(sim.now)
    device.handle_handshakes(sim.now, 10_000)
    assert device.backlog == 0
    assert device.under_load(sim.now + 0.99)
    assert not device.under_load(sim.now + 1.01)


def test_without_load_no_cookie_is_asked_for() -> None:
    """150 good handshakes over minutes do not make an idle device ask for cookies."""
    sim = Sim()
    for n in range(150):
        sim.now += 2
        sim.receive("B", initiation("A", sim.now, n), at(1))
    assert sim.sent("B") == ["response"] * 150


def test_under_load_an_initiation_is_answered_by_a_cookie_to_its_true_source() -> None:
    sim = Sim()
    load(sim)
    device = sim.ends["B"].device
    device.handle_handshakes(sim.now, 10_000)
    device.receive(initiation("A", sim.now), at(77, 4242), sim.now)
    actions = device.handle_handshakes(sim.now)
    assert [type(a) for a in actions] == [SendDatagram, Dropped]
    assert isinstance(actions[0], SendDatagram)
    assert actions[0].path == at(77, 4242)
    assert len(actions[0].data) == 64


def test_the_initiator_takes_the_cookie_and_its_retransmission_gets_through() -> None:
    sim = Sim()
    load(sim)
    sim.ends["B"].device.handle_handshakes(sim.now, 10_000)
    sim.send("A")
    assert sim.sent("A") == ["initiation"]
    assert sim.sent("B") == ["cookie"]
    # Not at once, and without a change of endpoint: the next retransmission carries mac2.
    load(sim)
    sim.advance(4.9)
    assert sim.sent("A") == ["initiation"]
    load_again = [initiation("mallory", sim.now, n + 5000) for n in range(600)]
    for n, data in enumerate(load_again):
        sim.ends["B"].device.receive(data, at(n), sim.now)
    sim.ends["B"].device.handle_handshakes(sim.now, 10_000)
    sim.advance(0.5)
    assert sim.ends["B"].device.under_load(sim.now)
    assert sim.sent("B") == ["cookie", "response"]
    assert len(sim.ends["B"].delivered) == 1


def test_a_cookie_for_one_port_opens_no_other() -> None:
    sim = Sim()
    device = sim.ends["B"].device
    me = PrivateKey(key("A"))
    maker = CookieMaker(public("B"))

    def message(index: int) -> bytes:
        pending = PrivateKey(key(f"x{index}"))
        when = stamp(WALL + index * 10**9)
        body = create_initiation(me, public("B"), me.dh(public("B")), index, pending, when)[0].pack()
        return maker.stamp(body, sim.now)

    load(sim)
    device.handle_handshakes(sim.now, 10_000)
    device.receive(message(1), at(5, 1000), sim.now)
    reply = device.handle_handshakes(sim.now)[0]
    assert isinstance(reply, SendDatagram)
    from wgbpf.protocol.messages import CookieReply, parse

    parsed = parse(reply.data)
    assert isinstance(parsed, CookieReply)
    maker.consume(parsed, sim.now)
    device.receive(message(2), at(5, 1001), sim.now)
    assert [type(a) for a in device.handle_handshakes(sim.now)] == [SendDatagram, Dropped]
    device.receive(message(3), at(5, 1000), sim.now)
    assert isinstance(device.handle_handshakes(sim.now)[0], InstallSession)


def test_only_the_first_cookie_reply_to_a_message_counts_and_it_moves_no_endpoint() -> None:
    sim = Sim()
    load(sim)
    sim.ends["B"].device.handle_handshakes(sim.now, 10_000)
    sim.send("A")
    cookie = next(s.data for s in sim.log if s.kind == "cookie")
    before = sim.ends["A"].device.peers()[0].endpoint
    sim.receive("A", cookie, at(66))
    assert sim.ends["A"].drops["bad_cookie"] == 1
    assert sim.ends["A"].device.peers()[0].endpoint == before


def test_a_thousand_replays_of_one_initiation_cost_one_handshake_and_load_nobody() -> None:
    sim = Sim()
    data = initiation("A", sim.now)
    for n in range(1000):
        sim.ends["B"].device.receive(data, at(n % 7), sim.now)
    assert sim.ends["B"].device.backlog == 1
    assert not sim.ends["B"].device.under_load(sim.now)
    sim.ends["B"].device.handle_handshakes(sim.now, 2000)
    assert sim.ends["B"].device.session_count == 1


def test_an_old_timestamp_and_a_second_initiation_within_20_ms_are_refused() -> None:
    sim = Sim()
    sim.receive("B", initiation("A", sim.now, 1))
    sim.now += 0.019
    sim.receive("B", initiation("A", sim.now, 2))
    assert sim.ends["B"].drops["initiation_flood"] + sim.ends["B"].drops["stale_timestamp"] == 1
    sim.now += 1
    sim.receive("B", initiation("A", sim.now - 5, 3))
    assert sim.ends["B"].drops["stale_timestamp"] >= 1
    sim.receive("B", initiation("A", sim.now, 4))
    assert sim.sent("B") == ["response"] * 2


def test_a_full_queue_refuses() -> None:
    sim = Sim()
    load(sim, 4097)
    assert sim.ends["B"].device.backlog == 4096


def test_cookies_stay_valid_over_the_change_of_the_secret() -> None:
    from wgbpf.protocol.cookies import CookieChecker
    from wgbpf.protocol.messages import CookieReply, parse

    from .sim import Rand

    checker, maker = CookieChecker(public("B"), Rand("r")), CookieMaker(public("B"))
    source = at(1).remote.raw()
    checker.check_mac2(bytes(148), source, 0)
    raw = maker.stamp(b"x" * 116, 119)
    reply = parse(checker.reply(raw, 1, source, 119).pack())
    assert isinstance(reply, CookieReply)
    maker.consume(reply, 119)
    assert checker.check_mac2(maker.stamp(b"y" * 116, 200), source, 200)
    # A sender uses a cookie for 115 s.
    assert maker.stamp(b"z" * 116, 233.9)[-16:] != bytes(16)
    assert maker.stamp(b"z" * 116, 234.1)[-16:] == bytes(16)
    assert not checker.check_mac2(maker.stamp(b"y" * 116, 200), source, 500)


def test_the_limiter_gives_five_at_once_and_twenty_a_second_per_source() -> None:
    limiter = RateLimiter()
    flooder, peer = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
    assert [limiter.allow(flooder, 1.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limiter.allow(peer, 1.0)
    # The first pass cost of the cap of 250 ms; 50 ms buy one more.
    assert limiter.allow(flooder, 1.051)
    assert not limiter.allow(flooder, 1.052)
    passed = sum(limiter.allow(flooder, 2 + n / 1000) for n in range(1000))
    assert 19 <= passed <= 25


def test_the_limiter_sees_an_ipv6_source_as_its_64_and_its_table_is_bounded() -> None:
    limiter = RateLimiter(max_entries=3)
    net = bytes.fromhex("20010db800000001")
    assert [limiter.allow(net + bytes([n] * 8), 1.0) for n in range(6)] == [True] * 5 + [False]
    assert limiter.allow(b"\1\1\1\1", 1.0)
    assert limiter.allow(b"\2\2\2\2", 1.0)
    assert not limiter.allow(b"\3\3\3\3", 1.0)
    assert limiter.allow(b"\3\3\3\3", 2.5)


@pytest.mark.parametrize("seconds", [-100.0, 0.0])
def test_the_limiter_minds_no_clock_that_stands_or_steps_back(seconds: float) -> None:
    limiter = RateLimiter()
    for _ in range(5):
        assert limiter.allow(b"\1\1\1\1", 1000.0)
    assert not limiter.allow(b"\1\1\1\1", 1000.0 + seconds)

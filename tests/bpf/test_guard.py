"""The guard, message by message: what passes, what is asked for a cookie, and the reason for what is refused."""

import os
import time

import pytest

from wgbpf.datapath import abi
from wgbpf.datapath.guardmaps import LiveIndices
from wgbpf.datapath.interface import Budget, GuardLimits
from wgbpf.datapath.libbpf import XDP_DROP, XDP_PASS, XDP_TX
from wgbpf.datapath.outerframe import outer_frame
from wgbpf.protocol.constants import COOKIE_SECRET_MAX_AGE
from wgbpf.protocol.cookies import CookieMaker
from wgbpf.protocol.messages import CookieReply, parse

from .dataplane import PORT
from .guardplane import MANY, GuardPlane, fragmented, source, wrapped

FEW = GuardLimits(Budget(1, 5), Budget(1, 3), 10_000_000)


def _expect(
    guard: GuardPlane, message: bytes, reason: str, address: str = "192.0.2.2", port: int = 1234
) -> None:
    before = guard.counts()
    verdict, _ = guard.receive(message, source(address, port))
    if reason == "PASS_HANDSHAKE":
        assert verdict == XDP_PASS
    elif reason == "RX_COOKIE_REQUIRED":
        assert verdict == XDP_TX
        before["COOKIES_SENT"] = before.get("COOKIES_SENT", 0) + 1
    else:
        assert verdict == XDP_DROP
    assert guard.counted(before) == {reason: 1}


def _get_cookie(guard: GuardPlane, address: str = "192.0.2.2", port: int = 1234) -> CookieMaker:
    """A peer that was asked for a cookie and took it."""
    maker = guard.maker()
    verdict, frame = guard.receive(guard.initiation(maker), source(address, port))
    assert verdict == XDP_TX
    reply = parse(frame[-64:])
    assert isinstance(reply, CookieReply)
    maker.consume(reply, 0.0)
    return maker


# --- the cheap checks ---


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_the_length_must_be_exact(guard: GuardPlane, kind: int) -> None:
    right = {1: 148, 2: 92, 3: 64}[kind]
    for length in {4, 5, 7, 8, 31, 32, right - 1, right + 1, 300, 1400}:
        _expect(guard, bytes([kind, 0, 0, 0]) + bytes(length - 4), "RX_BAD_LENGTH")


def test_types_and_reserved_bytes(guard: GuardPlane) -> None:
    good = guard.initiation()
    for head in (b"\0\0\0\0", b"\5\0\0\0", b"\1\1\0\0", b"\1\0\1\0", b"\1\0\0\1", b"\xff\xff\xff\xff"):
        _expect(guard, head + good[4:], "RX_BAD_TYPE")
    for length in range(4):
        _expect(guard, good[:length], "RX_BAD_LENGTH")


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"],
)
def test_nothing_is_sent_to_an_address_that_no_host_has(guard: GuardPlane, address: str) -> None:
    guard.load()
    _expect(guard, guard.initiation(), "RX_BAD_SOURCE", address)


def test_responses_and_cookie_replies_must_name_a_live_index(guard: GuardPlane) -> None:
    reply = b"\3\0\0\0" + (7).to_bytes(4, "little") + os.urandom(56)
    _expect(guard, guard.response(7), "RX_UNKNOWN_INDEX")
    _expect(guard, reply, "RX_UNKNOWN_INDEX")
    guard.live(7)
    _expect(guard, guard.response(7), "PASS_HANDSHAKE")
    _expect(guard, reply, "PASS_HANDSHAKE")
    guard.live(7, seconds=-0.001)
    _expect(guard, guard.response(7), "RX_UNKNOWN_INDEX")
    _expect(guard, reply, "RX_UNKNOWN_INDEX")


def test_replies_to_our_handshakes_have_a_budget_that_forged_initiations_leave_alone(
    guard: GuardPlane,
) -> None:
    guard.set(FEW)
    guard.live(7)
    for _ in range(5):
        _expect(guard, guard.initiation(), "PASS_HANDSHAKE")
    for _ in range(3):
        _expect(guard, b"\3\0\0\0" + (7).to_bytes(4, "little") + os.urandom(56), "PASS_HANDSHAKE")
    _expect(guard, b"\3\0\0\0" + (7).to_bytes(4, "little") + os.urandom(56), "RX_RATE_LIMITED")


# --- ways around it ---


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
@pytest.mark.parametrize("extra", [8, 32])
def test_options_and_extension_headers_are_no_way_around(guard: GuardPlane, address: str, extra: int) -> None:
    def run(message: bytes, reason: str) -> bytes:
        frame = outer_frame(message, source(address), PORT, 0)
        assert frame is not None
        before = guard.counts()
        _, out = guard.receive_frame(wrapped(frame, bytes(extra)))
        assert guard.counted(before).keys() >= {reason}
        return out

    run(guard.initiation()[:-20] + bytes(20), "RX_BAD_MAC1")
    run(b"\4\0\0\0" + bytes(60), "RX_UNKNOWN_INDEX")
    run(guard.initiation(), "PASS_HANDSHAKE")
    guard.load()
    maker = guard.maker()
    out = run(guard.initiation(maker), "COOKIES_SENT")
    # The answer has none of it.
    assert len(out) == 14 + (20 if "." in address else 40) + 72
    reply = parse(out[-64:])
    assert isinstance(reply, CookieReply)
    maker.consume(reply, 0.0)
    run(guard.initiation(maker), "PASS_HANDSHAKE")


@pytest.mark.parametrize("address", ["192.0.2.2", "2001:db8::2"])
def test_handshakes_in_pieces_are_refused_and_data_of_ours_in_pieces_is_not(
    guard: GuardPlane, address: str
) -> None:
    def run(message: bytes, verdict: int, reason: str) -> None:
        frame = outer_frame(message, source(address), PORT, 0)
        assert frame is not None
        before = guard.counts()
        assert guard.receive_frame(fragmented(frame)) == (verdict, fragmented(frame))
        assert guard.counted(before) == {reason: 1}

    guard.live(7)
    run(guard.initiation(), XDP_DROP, "RX_FRAGMENT")
    run(guard.response(7), XDP_DROP, "RX_FRAGMENT")
    run(b"\4\0\0", XDP_DROP, "RX_FRAGMENT")
    run(b"\4\0\0\0" + (8).to_bytes(4, "little") + bytes(900), XDP_DROP, "RX_UNKNOWN_INDEX")
    run(b"\4\0\0\0" + (7).to_bytes(4, "little") + bytes(900), XDP_PASS, "PASS_FRAGMENT")


# --- mac1, repetitions ---


def test_a_flipped_bit_anywhere_spoils_mac1(guard: GuardPlane) -> None:
    guard.live(7)
    for message in (guard.initiation(), guard.response(7)):
        for at in range(4, len(message) - 16):
            if message[0] == 2 and 8 <= at < 12:
                continue
            bad = message[:at] + bytes([message[at] ^ 1 << at % 8]) + message[at + 1 :]
            _expect(guard, bad, "RX_BAD_MAC1")
        _expect(guard, message, "PASS_HANDSHAKE")


def test_mac1_for_another_key(guard: GuardPlane) -> None:
    _expect(guard, CookieMaker(os.urandom(32)).stamp(guard.initiation()[:116], 0), "RX_BAD_MAC1")


def test_a_repetition_is_refused_and_a_retransmission_is_not(guard: GuardPlane) -> None:
    message = guard.initiation()
    _expect(guard, message, "PASS_HANDSHAKE")
    for port in (1234, 9):
        _expect(guard, message, "RX_DUPLICATE", port=port)
    _expect(guard, message[:-16] + os.urandom(16), "PASS_HANDSHAKE")
    _expect(guard, guard.initiation(), "PASS_HANDSHAKE")


def test_a_repetition_is_remembered_for_five_seconds(guard: GuardPlane) -> None:
    message = guard.initiation()
    _expect(guard, message, "PASS_HANDSHAKE")
    key = message[-32:]
    passed = int.from_bytes(guard.raw["duplicates"].lookup(key) or b"", "little")
    for age, reason in (
        (abi.DUPLICATE_NS - 500_000_000, "RX_DUPLICATE"),
        (abi.DUPLICATE_NS, "PASS_HANDSHAKE"),
    ):
        guard.raw["duplicates"].update(key, (passed - age).to_bytes(8, "little"))
        _expect(guard, message, reason)


def test_what_was_not_let_through_is_no_repetition(guard: GuardPlane) -> None:
    guard.load()
    message = guard.initiation()
    for _ in range(3):
        _expect(guard, message, "RX_COOKIE_REQUIRED")


# --- budgets ---


def test_a_source_beyond_its_budget_is_asked_for_a_cookie_and_passes_with_it(guard: GuardPlane) -> None:
    guard.set(FEW)
    for _ in range(5):
        _expect(guard, guard.initiation(), "PASS_HANDSHAKE")
    maker = _get_cookie(guard)
    for _ in range(3):
        _expect(guard, guard.initiation(maker), "PASS_HANDSHAKE")
    _expect(guard, guard.initiation(maker), "RX_RATE_LIMITED")
    _expect(guard, guard.initiation(), "RX_COOKIE_REQUIRED")
    # Nobody else pays for it.
    _expect(guard, guard.initiation(), "PASS_HANDSHAKE", "192.0.2.3")


def test_the_budget_comes_back_at_its_rate_and_not_beyond_the_burst(guard: GuardPlane) -> None:
    guard.set(GuardLimits(Budget(10, 2), Budget(10, 2), 10_000_000))
    for _ in range(2):
        for _ in range(2):
            _expect(guard, guard.initiation(), "PASS_HANDSHAKE")
        _expect(guard, guard.initiation(), "RX_COOKIE_REQUIRED")
        time.sleep(0.11)
        _expect(guard, guard.initiation(), "PASS_HANDSHAKE")
        _expect(guard, guard.initiation(), "RX_COOKIE_REQUIRED")
        time.sleep(0.5)


def test_an_ipv6_source_is_its_64(guard: GuardPlane) -> None:
    guard.set(FEW)
    for n in range(5):
        _expect(guard, guard.initiation(), "PASS_HANDSHAKE", f"2001:db8:1:2::{n + 1}")
    _expect(guard, guard.initiation(), "RX_COOKIE_REQUIRED", "2001:db8:1:2:ffff::9")
    _expect(guard, guard.initiation(), "PASS_HANDSHAKE", "2001:db8:1:3::1")
    # An IPv4 address is no prefix that happens to have the same bytes.
    _expect(guard, guard.initiation(), "PASS_HANDSHAKE", "32.1.13.184")


def test_a_wrong_mac1_takes_nothing_from_the_budget(guard: GuardPlane) -> None:
    guard.set(FEW)
    bad = guard.initiation()[:-20] + bytes(20)
    for _ in range(20):
        _expect(guard, bad, "RX_BAD_MAC1")
    for _ in range(5):
        _expect(guard, guard.initiation(), "PASS_HANDSHAKE")


# --- load ---


def test_in_peace_no_cookie_is_asked_for_and_none_is_looked_at(guard: GuardPlane) -> None:
    for _ in range(20):
        _expect(guard, guard.initiation()[:-16] + os.urandom(16), "PASS_HANDSHAKE")


def test_under_load_only_a_cookie_opens_the_door(guard: GuardPlane) -> None:
    guard.live(7)
    guard.load()
    maker = _get_cookie(guard)
    _expect(guard, guard.initiation(maker), "PASS_HANDSHAKE")
    _expect(guard, guard.response(7, maker), "PASS_HANDSHAKE")
    _expect(guard, guard.initiation(), "RX_COOKIE_REQUIRED")
    _expect(guard, guard.response(7), "RX_COOKIE_REQUIRED")
    _expect(guard, guard.initiation()[:-16] + os.urandom(16), "RX_COOKIE_REQUIRED")
    # It is bound to address and port.
    _expect(guard, guard.initiation(maker), "RX_COOKIE_REQUIRED", port=1235)
    _expect(guard, guard.initiation(maker), "RX_COOKIE_REQUIRED", "192.0.2.3")


def test_load_begins_with_the_rate_and_sticks_for_a_second(guard: GuardPlane) -> None:
    guard.set(GuardLimits(MANY.unverified, MANY.verified, 500))
    time.sleep(0.11)
    # 50 in a window of 100 ms are allowed; which window they fall into is not known beforehand.
    began, passed = time.monotonic(), 0
    while guard.receive(guard.initiation())[0] == XDP_PASS:
        passed += 1
        assert passed < 5000, "the machine is too slow to make the rate"
    assert passed >= 51 or time.monotonic() - began < 0.1
    assert guard.maps.under_load()
    time.sleep(0.9)
    assert guard.maps.under_load()
    assert guard.receive(guard.initiation())[0] == XDP_TX
    time.sleep(0.15)
    assert not guard.maps.under_load()
    _expect(guard, guard.initiation(), "PASS_HANDSHAKE")


def test_the_load_state_does_not_flap_while_the_rate_is_high(guard: GuardPlane) -> None:
    guard.set(GuardLimits(MANY.unverified, MANY.verified, 100))
    while guard.receive(guard.initiation())[0] == XDP_PASS:
        pass
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        assert guard.receive(guard.initiation())[0] == XDP_TX
    # Those with a cookie do not count.
    maker = _get_cookie(guard)
    began = time.monotonic()
    while time.monotonic() - began < 0.8:
        assert guard.receive(guard.initiation(maker))[0] == XDP_PASS
    time.sleep(0.25)
    assert not guard.maps.under_load()


def test_one_source_alone_puts_nobody_else_under_load(guard: GuardPlane) -> None:
    guard.set(GuardLimits(Budget(5, 5), MANY.verified, 500))
    for _ in range(500):
        guard.receive(guard.initiation())
    assert guard.counts()["PASS_HANDSHAKE"] < 10
    assert not guard.maps.under_load()
    _expect(guard, guard.initiation(), "PASS_HANDSHAKE", "192.0.2.3")


def test_the_controllers_word_lasts_until_the_time_it_named(guard: GuardPlane) -> None:
    guard.load(0.2)
    _expect(guard, guard.initiation(), "RX_COOKIE_REQUIRED")
    assert guard.maps.under_load()
    time.sleep(0.21)
    _expect(guard, guard.initiation(), "PASS_HANDSHAKE")
    assert not guard.maps.under_load()


# --- secrets, settings ---


def test_a_cookie_outlives_one_change_of_the_secret_and_not_two(guard: GuardPlane) -> None:
    guard.load()
    maker = _get_cookie(guard)
    guard.set(now=COOKIE_SECRET_MAX_AGE)
    _expect(guard, guard.initiation(maker), "PASS_HANDSHAKE")
    newer = _get_cookie(guard)
    guard.set(now=2 * COOKIE_SECRET_MAX_AGE)
    _expect(guard, guard.initiation(maker), "RX_COOKIE_REQUIRED")
    _expect(guard, guard.initiation(newer), "PASS_HANDSHAKE")


def test_the_core_takes_the_guards_cookies(guard: GuardPlane) -> None:
    guard.load()
    maker = _get_cookie(guard, "2001:db8::77", 4242)
    raw = source("2001:db8::77", 4242).remote.raw()
    assert guard.checker.check_mac2(guard.initiation(maker), raw, 0.0)


def test_the_guard_takes_the_cores_cookies(guard: GuardPlane) -> None:
    guard.load()
    for address in ("192.0.2.9", "2001:db8::9"):
        maker = guard.maker()
        message = guard.initiation(maker)
        reply = guard.checker.reply(message, 1, source(address).remote.raw(), 0.0)
        maker.consume(reply, 0.0)
        _expect(guard, guard.initiation(maker), "PASS_HANDSHAKE", address)


def test_settings_are_replaced_whole_and_turned_off(guard: GuardPlane) -> None:
    bad = guard.initiation()[:-20] + bytes(20)
    for _ in range(3 * abi.GUARD_COPIES):
        guard.set()
        _expect(guard, guard.initiation(), "PASS_HANDSHAKE")
        _expect(guard, bad, "RX_BAD_MAC1")
    guard.maps.off()
    assert not guard.maps.on
    _expect(guard, bad, "PASS_HANDSHAKE")


# --- live indices as the controller keeps them ---


def test_indices_are_live_from_our_message_until_they_are_retired(guard: GuardPlane) -> None:
    live = guard.maps.live
    live.sent(guard.initiation(sender=7))
    _expect(guard, guard.response(7), "PASS_HANDSHAKE")
    _expect(guard, guard.response(8), "RX_UNKNOWN_INDEX")
    live.retired(7)
    _expect(guard, guard.response(7), "RX_UNKNOWN_INDEX")
    live.sent(b"\3\0\0\0" + (9).to_bytes(4, "little") + bytes(56))
    assert len(live) == 0


def test_a_full_map_of_indices_loses_the_one_that_ends_first(guard: GuardPlane) -> None:
    live = LiveIndices()
    live.use(guard.raw["live"])
    room = guard.raw["live"].max_entries
    for n in range(room + 10):
        live.sent(guard.initiation(sender=n))
    assert len(live) <= room
    assert guard.raw["live"].lookup((room + 9).to_bytes(4, "little")) is not None

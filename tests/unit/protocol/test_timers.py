"""Section 6 of the paper, sentence by sentence. The numbers are written here a second time."""

from itertools import pairwise

import pytest

from .sim import Sim


@pytest.fixture(params=[False, True], ids=["core-carries", "offload"])
def offload(request: pytest.FixtureRequest) -> bool:
    value: bool = request.param
    return value


def test_a_packet_without_a_session_starts_a_handshake_and_is_sent_when_it_is_done(offload: bool) -> None:
    sim = Sim(offload)
    sim.send("A")
    assert sim.sent("A") == ["initiation", "data"]
    assert sim.sent("B") == ["response"]
    assert len(sim.ends["B"].delivered) == 1
    assert sim.ends["A"].ended == [("initiator", "completed")]
    assert sim.ends["B"].ended == [("responder", "completed")]


def test_the_initiator_confirms_with_a_keepalive_when_nothing_is_staged(offload: bool) -> None:
    sim = Sim(offload)
    sim.change("A", persistent_keepalive=25)
    sim.settle()
    assert sim.sent("A") == ["initiation", "keepalive"]


def test_silence_after_data_is_broken_by_one_keepalive_after_ten_seconds(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.send("A")
    sim.advance(9.9)
    assert sim.sent("B") == []
    sim.advance(0.2)
    assert sim.sent("B") == ["keepalive"]
    # A keepalive never answers a keepalive: then there is silence.
    sim.advance(60)
    assert sim.sent("B") == ["keepalive"]
    assert sim.sent("A") == ["data"]


def test_more_data_while_a_keepalive_is_owed_earns_another_one() -> None:
    sim = Sim.connected()
    start = sim.now
    sim.send("A")
    sim.advance(5)
    sim.send("A")
    sim.advance(60)
    assert [t - start for t in sim.times("B", "keepalive")] == pytest.approx([10, 20])


def test_data_sent_back_cancels_the_keepalive(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.send("A")
    sim.advance(9)
    sim.send("B")
    sim.advance(9)
    assert "keepalive" not in sim.sent("B")


def test_data_that_stays_unanswered_for_fifteen_seconds_starts_a_handshake(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.cut = {"B"}
    start = sim.now
    sim.send("A")
    sim.advance(14.99)
    assert sim.sent("A") == ["data"]
    sim.advance(0.35)
    assert sim.sent("A") == ["data", "initiation"]
    assert 15 <= sim.times("A", "initiation")[0] - start < 15.34


def test_an_unanswered_initiation_is_repeated_every_five_seconds_and_a_bit(offload: bool) -> None:
    sim = Sim(offload)
    sim.cut = {"A"}
    sim.send("A")
    sim.advance(200)
    times = sim.times("A", "initiation")
    gaps = [b - a for a, b in pairwise(times)]
    assert all(5 <= gap < 5.34 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.05  # jitter


def test_after_twenty_initiations_it_gives_up_and_drops_what_was_staged(offload: bool) -> None:
    sim = Sim(offload)
    sim.cut = {"A"}
    start = sim.now
    sim.send("A")
    sim.advance(500)
    times = sim.times("A", "initiation")
    assert len(times) == 20
    assert 95 < times[-1] - start < 102
    assert sim.ends["A"].ended == [("initiator", "timed_out")]
    assert sim.ends["A"].drops["staged_timeout"] == 1


def test_steady_traffic_retries_for_ever() -> None:
    sim = Sim()
    sim.cut = {"A"}
    for _ in range(200):
        sim.send("A")
        sim.advance(1)
    assert len(sim.times("A", "initiation")) > 35


def test_never_two_initiations_within_five_seconds(offload: bool) -> None:
    sim = Sim(offload)
    sim.cut = {"A", "B"}
    for _ in range(300):
        sim.send("A")
        sim.advance(0.1)
    times = sim.times("A", "initiation")
    assert all(b - a >= 5 for a, b in pairwise(times))


def test_only_the_initiator_rekeys_for_age_and_only_when_it_sends(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.advance(119 - 60)
    sim.send("A")
    assert sim.sent("A") == ["data"]
    sim.advance(1.5)
    sim.send("B")
    assert "initiation" not in sim.sent("B")
    sim.send("A")
    assert sim.sent("A")[-2:] != ["data", "data"]
    assert "initiation" in sim.sent("A")


def test_ten_minutes_of_traffic_make_one_handshake_each_120_seconds(offload: bool) -> None:
    sim = Sim(offload)
    for _ in range(1200):
        sim.send("A")
        sim.send("B")
        sim.advance(0.5)
    assert len(sim.times("A", "initiation")) == 5
    assert sim.times("B", "initiation") == []
    assert len(sim.ends["A"].delivered) == len(sim.ends["B"].delivered) == 1200
    assert sum(sim.ends["A"].drops.values()) == 0


def test_the_initiator_rekeys_when_it_receives_under_a_key_of_165_seconds(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.advance(164 - 60)
    sim.send("B")
    assert "initiation" not in sim.sent("A")
    sim.advance(2)
    sim.send("B")
    assert sim.sent("A").count("initiation") == 1
    # Once a session: more data under the old key starts no other.
    sim.cut = {"B"}
    sim.send("B")
    assert sim.sent("A").count("initiation") == 1


def test_a_key_of_180_seconds_neither_sends_nor_receives() -> None:
    sim = Sim.connected()
    sim.advance(181 - 60)
    old = sim.ends["A"].device._state.peers[0].keypairs.current
    assert old is not None
    sim.receive("A", old.seal(b"", 1420))
    sim.send("A")
    assert sim.sent("A")[0] == "initiation"
    other = sim.ends["B"].device._state.peers[0].keypairs.previous
    assert other is not None
    sim.receive("A", other.seal(b"", 1420))
    assert sim.ends["A"].drops["key_expired"] == 1


def test_540_seconds_without_a_new_session_wipe_all_keys(offload: bool) -> None:
    sim = Sim.connected(offload)
    assert sim.ends["A"].device.session_count == 1
    sim.advance(539 - 60)
    assert sim.ends["A"].device.session_count == 1
    sim.advance(2)
    assert sim.ends["A"].device.session_count == 0
    assert sim.ends["A"].device.next_deadline() is None
    sim.advance(10_000)
    assert sim.log == []


def test_persistent_keepalives_go_out_at_their_interval_and_not_while_traffic_flows(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.change("A", persistent_keepalive=25)
    assert sim.sent("A") == ["keepalive"]
    start = sim.now
    sim.advance(51)
    gaps = [t - start for t in sim.times("A", "keepalive")]
    assert gaps == pytest.approx([0, 25, 50])
    sim.forget()
    for _ in range(30):
        sim.advance(2)
        sim.send("B")
        sim.advance(1)
        sim.send("A")
    # Only those that confirm a new key.
    assert sim.sent("A").count("keepalive") == sim.sent("A").count("initiation")


def test_both_sides_initiating_at_once_have_a_session_within_two_retransmissions() -> None:
    sim = Sim(delay=0.05)
    sim.send("A")
    sim.send("B")
    sim.advance(11)
    assert sim.ends["A"].device.session_count >= 1
    assert len(sim.ends["A"].delivered) == len(sim.ends["B"].delivered) == 1


def test_a_response_after_4_9_seconds_is_accepted() -> None:
    sim = Sim(delay=2.45)
    sim.send("A")
    sim.advance(4.95)
    assert sim.ends["A"].ended == [("initiator", "completed")]
    assert sim.sent("A").count("initiation") == 1


def test_an_idle_device_sleeps_for_ever(offload: bool) -> None:
    assert Sim(offload).ends["A"].device.next_deadline() is None


def test_interface_down_wipes_keys_and_stops_timers_and_up_begins_anew(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.change("A", persistent_keepalive=25)
    device = sim.ends["A"].device
    sim.carry_out("A", device.set_up(False, sim.now))
    assert device.session_count == 0
    assert device.next_deadline() is None
    sim.forget()
    sim.receive("A", bytes(148))
    assert sim.log == []
    sim.carry_out("A", device.set_up(True, sim.now))
    sim.settle()
    assert sim.sent("A")[0] == "initiation"


def test_sleeping_through_wipes_every_key(offload: bool) -> None:
    sim = Sim.connected(offload)
    sim.carry_out("A", sim.ends["A"].device.suspended())
    assert sim.ends["A"].device.session_count == 0


def test_a_clock_that_steps_back_causes_no_negative_age() -> None:
    sim = Sim.connected()
    sim.now -= 500
    sim.send("A")
    sim.send("B")
    assert len(sim.ends["A"].delivered) == 1


def test_messages_run_out_at_their_limit_and_a_handshake_starts() -> None:
    sim = Sim.connected()
    pair = sim.ends["A"].device._state.peers[0].keypairs.current
    assert pair is not None
    pair.counter = 2**64 - 2**13 - 2
    sim.send("A")
    assert "data" in sim.sent("A")
    sim.forget()
    pair = sim.ends["A"].device._state.peers[0].keypairs.previous
    assert pair is not None
    assert not pair.may_send(sim.now)
    with pytest.raises(ValueError, match="limit"):
        pair.seal(b"", 1420)


def test_more_than_2_to_the_60_messages_make_either_side_rekey() -> None:
    sim = Sim.connected()
    sim.advance(10)
    pair = sim.ends["B"].device._state.peers[0].keypairs.current
    assert pair is not None
    pair.counter = 2**60
    sim.send("B")
    assert sim.sent("B") == ["data", "initiation", "keepalive"]

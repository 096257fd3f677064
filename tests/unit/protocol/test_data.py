"""Data messages: slots, replay, padding, cryptokey routing, ECN, what is dropped and why."""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgbpf.protocol import inner
from wgbpf.protocol.actions import InstallSession
from wgbpf.protocol.addresses import Endpoint, Path
from wgbpf.protocol.allowedips import AllowedIps, Network
from wgbpf.protocol.device import Device
from wgbpf.protocol.drops import Rejected
from wgbpf.protocol.indices import IndexAllocator, IndicesExhausted
from wgbpf.protocol.keypairs import Keypair
from wgbpf.protocol.ratelimiter import RateLimiter
from wgbpf.protocol.replay import ReplayWindow

from .sim import Rand, Sim, packet


def _current(sim: Sim, name: str) -> Keypair:
    pair = sim.ends[name].device._state.peers[0].keypairs.current
    assert pair is not None
    return pair


# --- replay -------------------------------------------------------------------------------------------

LIMIT = 2**64 - 2**13 - 1
TABLE = [
    (0, True), (1, True), (1, False), (9, True), (8, True), (7, True), (7, False), (8128, True),
    (8127, True), (8127, False), (8126, True), (2, True), (2, False), (16256, True), (3, False),
    (8128, False), (8129, True), (8192, True), (16255, True), (2**32, True), (2**32 - 8128, True),
    (2**32 - 8129, False), (2**32 + 1, True), (2**63, True), (2**63 - 1, True), (2**63, False),
    (LIMIT - 1, True), (LIMIT, False), (LIMIT - 1, False), (LIMIT - 2, True), (2**64 - 1, False),
]  # fmt: skip


def test_replay_window_numbered_table() -> None:
    window = ReplayWindow()
    for number, (counter, accepted) in enumerate(TABLE):
        assert window.accept(counter) is accepted, f"row {number}: {counter}"


class SlowWindow:
    """The same by remembering everything."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def accept(self, counter: int) -> bool:
        highest = max(self.seen, default=-1)
        if counter in self.seen or highest - counter > 8128:
            return False
        self.seen.add(counter)
        return True


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 20_000), st.integers(-9000, 9000), st.just(2**40)), max_size=300))
def test_replay_window_equals_its_slow_twin(steps: list[int]) -> None:
    fast, slow, at = ReplayWindow(), SlowWindow(), 0
    for step in steps:
        at = max(0, at + step) if step < 0 or step == 2**40 else step
        assert fast.accept(at) == slow.accept(at), at


def test_filling_backwards_accepts_each_once() -> None:
    window = ReplayWindow()
    assert all(window.accept(n) for n in range(8128, -1, -1))
    assert not any(window.accept(n) for n in range(8129))


# --- slots --------------------------------------------------------------------------------------------


def test_during_a_rekey_packets_under_previous_current_and_next_all_open() -> None:
    sim = Sim.connected()
    old = _current(sim, "A")
    sim.advance(61)
    sim.cut = {"B"}
    sim.send("A")  # B has `next` now, A never heard
    sim.forget()
    sim.cut = set()
    sim.receive("B", old.seal(packet("10.0.0.1", "10.0.0.2"), 1420))
    assert len(sim.ends["B"].delivered) == 1
    sim.advance(6)
    sim.send("A")
    assert len(sim.ends["B"].delivered) == 2
    sim.receive("B", old.seal(packet("10.0.0.1", "10.0.0.2"), 1420))
    assert len(sim.ends["B"].delivered) == 3


def test_the_responder_does_not_send_under_a_new_key_before_it_is_confirmed() -> None:
    sim = Sim()
    sim.cut = {"B"}
    sim.send("A")
    sim.forget()
    sim.send("B")
    assert sim.sent("B") == []  # staged: it answered less than 5 s ago
    assert sim.ends["B"].device._state.peers[0].keypairs.current is None


def test_a_changed_psk_is_used_by_the_next_handshake_and_leaves_the_session_alone() -> None:
    from wgbpf.protocol.crypto import Secret

    sim = Sim.connected()
    sim.change("A", preshared_key=Secret(b"p" * 32))
    sim.send("A")
    sim.send("B")
    assert sim.sent("A") == sim.sent("B") == ["data"]
    sim.advance(70)
    sim.send("A")
    sim.advance(0.1)
    assert sim.ends["A"].drops["bad_handshake"] == 1


def test_session_indices_look_random_and_retired_ones_are_free_again() -> None:
    sim = Sim(offload=False)
    seen = []
    for _ in range(1000):
        sim.advance(6)
        sim.carry_out("A", sim.ends["A"].device.suspended())
        sim.send("A")
        seen += [a.session.local_index for a in sim.ends["A"].actions if isinstance(a, InstallSession)]
        sim.forget()
    assert len(set(seen)) == len(seen) == 1000
    for bit in range(32):
        assert 400 < sum(index >> bit & 1 for index in seen) < 600
    assert len(sim.ends["A"].device._state.indices) <= 2


def test_indices_carry_a_prefix_and_unique_low_bits() -> None:
    allocator = IndexAllocator(Rand("i"), prefix=5, prefix_bits=3, slot_bits=6)
    got = [allocator.allocate() for _ in range(60)]
    assert {index >> 29 for index in got} == {5}
    assert len({index & 63 for index in got}) == 60
    with pytest.raises(IndicesExhausted):
        for _ in range(10):
            allocator.allocate()
    allocator.release(got[0])
    assert allocator.allocate() & 63 == got[0] & 63


def test_the_device_takes_the_allocator_and_the_limiter_that_it_is_given() -> None:
    sim, limiter = Sim(), RateLimiter()
    indices = IndexAllocator(Rand("i"), prefix=5, prefix_bits=3)
    end = sim.ends["A"]
    end.device = Device(Rand("A"), indices, limiter=limiter)
    sim.carry_out("A", end.device.configure(sim._config("A"), sim.now))
    sim.send("A")
    assert {a.session.local_index >> 29 for a in end.actions if isinstance(a, InstallSession)} == {5}
    assert len(indices) == 1
    assert end.device._state.limiter is limiter


# --- inner packets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [*range(64), 1403, 1404, 1408, 1409, 1419, 1420, 1421, 1436, 2839, 2840])
def test_padding_is_to_16_and_never_past_the_mtu(length: int) -> None:
    pad = inner.padding(length, 1420)
    if length <= 1408:
        assert (length + pad) % 16 == 0
        assert 0 <= pad < 16
    elif length <= 1420:
        assert length + pad == 1420
    assert inner.padding(length, 0) == -length % 16
    assert (length % 1420 or length == 1420) + pad <= 1420


@pytest.mark.parametrize(
    ("plain", "good"),
    [
        (packet("10.0.0.1", "10.0.0.2", 40) + bytes(8), True),
        (bytes([0x45, 0, 0, 19]) + bytes(40), False),
        (bytes([0x45, 0, 0, 61]) + bytes(40), False),
        (bytes([0x45, 0, 0, 20]), False),
        (bytes([0x60, 0, 0, 0, 0, 8]) + bytes(42), True),
        (bytes([0x60, 0, 0, 0, 0, 9]) + bytes(42), False),
        (bytes([0x60]) + bytes(38), False),
        (bytes([0x10]) + bytes(60), False),
        (bytes(32), False),
    ],
)
def test_an_inner_packet_is_cut_to_its_header_or_refused(plain: bytes, good: bool) -> None:
    if good:
        assert plain.startswith(inner.trim(plain))
        return
    with pytest.raises(Rejected):
        inner.trim(plain)


def test_a_forbidden_inner_source_is_dropped_but_still_moves_the_endpoint() -> None:
    sim = Sim.connected()
    away = Path(Endpoint(IPv4Address("198.51.100.7"), 7))
    sim.receive("B", _current(sim, "A").seal(packet("10.0.0.99", "10.0.0.2"), 1420), away)
    assert sim.ends["B"].drops["forbidden_source"] == 1
    assert sim.ends["B"].delivered == []
    assert sim.ends["B"].device.peers()[0].endpoint == away.remote


def test_a_more_specific_prefix_of_another_peer_wins() -> None:
    table = AllowedIps()
    table.insert(ip_network("10.0.0.0/8"), 1)
    table.insert(ip_network("10.1.0.0/16"), 2)
    assert table.lookup(IPv4Address("10.1.2.3")) == 2
    assert table.lookup(IPv4Address("10.2.2.3")) == 1
    assert table.insert(ip_network("10.0.0.0/8"), 2) == 1
    assert list(table.of(1)) == []


@pytest.mark.parametrize(
    ("outer", "inside", "result"),
    [
        (3, 0, None),
        (3, 1, 3),
        (3, 2, 3),
        (3, 3, 3),
        (1, 2, 1),
        (1, 1, 1),
        (0, 2, 2),
        (2, 1, 1),
        (0, 0, 0),
        (2, 0, 0),
    ],
)
def test_ecn_follows_rfc6040_figure_4(outer: int, inside: int, result: int | None) -> None:
    v4 = bytearray(packet("10.0.0.1", "10.0.0.2"))
    v4[1] = 0xB8 | inside
    v4[10:12] = _checksum(bytes(v4[:20]))
    v6 = bytes([0x6B, 0x80 | inside << 4]) + bytes(46)
    for plain in (bytes(v4), v6):
        marked = inner.decapsulate_ecn(plain, outer)
        if result is None:
            assert marked is None
            continue
        assert marked is not None
        assert inner.ds_byte(marked) == 0xB8 | result
        assert marked[2:10] == plain[2:10]
        if plain[0] >> 4 == 4:
            assert _checksum(marked[:10] + b"\0\0" + marked[12:20]) == marked[10:12]


def _checksum(header: bytes) -> bytes:
    total = sum(int.from_bytes(header[n : n + 2], "big") for n in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


# --- cryptokey routing against a slow twin --------------------------------------------------------------

_networks = st.one_of(
    st.builds(lambda a, n: ip_network((a, n), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(
        lambda a, n: ip_network((IPv6Address(a), n), strict=False),
        st.integers(0, 255).map(lambda n: n << 120),
        st.integers(0, 128),
    ),
    st.sampled_from(
        [ip_network("0.0.0.0/0"), ip_network("10.0.0.0/8"), ip_network("10.0.0.0/9"), ip_network("::/0")]
    ),
)
_steps = st.lists(
    st.tuples(st.sampled_from(["insert", "remove", "remove_peer"]), _networks, st.integers(0, 3))
)


class SlowTable:
    def __init__(self) -> None:
        self.owner: dict[Network, int] = {}

    def lookup(self, address: IPv4Address | IPv6Address) -> int | None:
        found = [n for n in self.owner if n.version == address.version and address in n]
        return self.owner[max(found, key=lambda n: n.prefixlen)] if found else None


@settings(max_examples=300, deadline=None)
@given(_steps, st.lists(_networks, max_size=8))
def test_the_allowed_ips_table_equals_its_slow_twin(
    steps: list[tuple[str, Network, int]], probes: list[Network]
) -> None:
    fast, slow = AllowedIps(), SlowTable()
    for verb, network, peer in steps:
        if verb == "insert":
            fast.insert(network, peer)
            slow.owner[network] = peer
        elif verb == "remove":
            assert fast.remove(network, peer) == (slow.owner.get(network) == peer)
            if slow.owner.get(network) == peer:
                del slow.owner[network]
        else:
            fast.remove_peer(peer)
            slow.owner = {n: p for n, p in slow.owner.items() if p != peer}
    for network in [*probes, *(step[1] for step in steps)]:
        for address in (network.network_address, network.broadcast_address):
            assert fast.lookup(address) == slow.lookup(address)
    for peer in range(4):
        assert set(fast.of(peer)) == {n for n, p in slow.owner.items() if p == peer}


def test_packets_that_go_nowhere_are_named() -> None:
    sim = Sim()
    device = sim.ends["A"].device
    sim.carry_out("A", device.send(packet("10.0.0.1", "10.9.9.9"), sim.now))
    sim.carry_out("A", device.send(b"\x00nonsense", sim.now))
    assert sim.ends["A"].drops == {"no_route": 1, "bad_inner_packet": 1}

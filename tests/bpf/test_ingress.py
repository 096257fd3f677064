"""The ingress program, packet by packet: what is delivered, and the reason for what is not."""

import random
import time
from dataclasses import replace

import pytest

from wgbpf.datapath import abi
from wgbpf.datapath.libbpf import XDP_DROP, XDP_PASS, XDP_REDIRECT
from wgbpf.datapath.outerframe import outer_frame
from wgbpf.protocol.addresses import Endpoint, Path
from wgbpf.protocol.constants import REJECT_AFTER_MESSAGES
from wgbpf.protocol.inner import decapsulate_ecn

from .dataplane import PATHS, PORT, DataPlane, ipv4, ipv6, padded
from .guardplane import wrapped

INNER4 = ipv4("10.0.0.2", "10.0.0.1", b"hello")


def _refused(plane: DataPlane, message: bytes, reason: str) -> None:
    before = plane.counts()
    verdict, _ = plane.receive(message)
    assert verdict == XDP_DROP
    assert plane.counted(before) == {reason: 1}


def _accepted(plane: DataPlane, message: bytes, packet: bytes, **how: object) -> None:
    verdict, frame = plane.receive(message, **how)  # type: ignore[arg-type]
    assert verdict == XDP_REDIRECT
    assert frame[14:] == packet
    assert frame[12:14] == (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd")


@pytest.mark.parametrize("family", [4, 6])
def test_every_length_is_opened_and_cut_to_its_header(plane: DataPlane, family: int) -> None:
    plane.peer(1, "10.0.0.2/32", "fd00::2/128", path=PATHS[family])
    keys = plane.session(1)
    for length in range(1421):
        packet = (
            ipv4("10.0.0.2", "10.0.0.1", bytes(length))
            if length % 2
            else ipv6("fd00::2", "::1", bytes(length))
        )
        _accepted(plane, keys.seal(padded(packet)), packet, family=family)
    assert plane.counts()["RX_PACKETS"] == 1421
    assert {name for name, n in plane.counts().items() if n} == {"RX_PACKETS", "RX_BYTES"}


def test_a_keepalive_is_consumed_and_proves_the_peer(plane: DataPlane) -> None:
    plane.peer(1)
    keys = plane.session(1)
    assert plane.receive(keys.seal(b""))[0] == XDP_DROP
    report = plane.maps.collect()[0]
    assert (report.rx_packets, report.rx_bytes) == (1, 32)
    assert report.last_received and report.last_data_received is None and report.unanswered_received is None


def test_reasons(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    plane.peer(2, "10.0.0.3/32")
    keys = plane.session(1)
    good = keys.seal(padded(INNER4), 7)
    _refused(plane, good[:3], "RX_BAD_LENGTH")
    _refused(plane, b"\5" + good[1:], "RX_BAD_TYPE")
    _refused(plane, b"\4\1" + good[2:], "RX_BAD_TYPE")
    _refused(plane, good[:31], "RX_BAD_LENGTH")
    _refused(plane, good[:4] + b"\0" + good[5:], "RX_UNKNOWN_INDEX")
    _refused(plane, good[:-1] + bytes([good[-1] ^ 1]), "RX_BAD_TAG")
    _accepted(plane, good, INNER4)
    _refused(plane, good, "RX_REPLAY")
    _refused(plane, keys.seal(padded(INNER4), REJECT_AFTER_MESSAGES), "RX_KEY_EXPIRED")
    _refused(plane, keys.seal(bytes(32)), "RX_BAD_INNER_PACKET")
    _refused(plane, keys.seal(INNER4[:19]), "RX_BAD_INNER_PACKET")
    _refused(plane, keys.seal(padded(INNER4)[:-12]), "RX_BAD_INNER_PACKET")
    _refused(plane, keys.seal(padded(ipv4("10.0.0.3", "10.0.0.1"))), "RX_FORBIDDEN_SOURCE")
    _refused(plane, keys.seal(padded(ipv4("10.0.0.4", "10.0.0.1"))), "RX_FORBIDDEN_SOURCE")
    _refused(plane, keys.seal(padded(ipv6("fd00::2", "::1"))), "RX_FORBIDDEN_SOURCE")
    _accepted(plane, keys.seal(padded(INNER4), REJECT_AFTER_MESSAGES - 1), INNER4)


def test_a_refused_inside_still_proves_the_peer_and_is_not_in_its_bytes(plane: DataPlane) -> None:
    plane.peer(1)
    keys = plane.session(1)
    elsewhere = Path(Endpoint(PATHS[4].remote.address, 999), PATHS[4].local)
    assert plane.receive(keys.seal(padded(INNER4)), path=elsewhere)[0] == XDP_DROP
    report = plane.maps.collect()[0]
    assert report.rx_bytes == 0 and report.last_data_received
    assert plane.kinds() == [abi.EventKind.ROAMED]


def test_a_key_dies_at_180_seconds_without_the_controller(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    keys = plane.session(1, age=179.9)
    _accepted(plane, keys.seal(padded(INNER4)), INNER4)
    time.sleep(0.12)
    _refused(plane, keys.seal(padded(INNER4)), "RX_KEY_EXPIRED")


def test_the_first_packet_confirms_a_responders_key_once(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    old = plane.session(1, 0x100)
    new = plane.session(1, 0x101, initiator=False)
    _accepted(plane, old.seal(padded(INNER4)), INNER4)
    assert plane.maps.sending(1) == 0x100
    assert abi.EventKind.CONFIRMED not in plane.kinds()
    _accepted(plane, new.seal(padded(INNER4)), INNER4)
    assert plane.maps.sending(1) == 0x101
    assert plane.kinds() == [abi.EventKind.CONFIRMED]
    _accepted(plane, new.seal(padded(INNER4)), INNER4)
    _accepted(plane, old.seal(padded(INNER4)), INNER4)
    assert plane.kinds() == []
    assert plane.maps.sending(1) == 0x101


def test_a_forged_packet_neither_confirms_nor_roams(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    keys = plane.session(1, initiator=False)
    forged = keys.seal(padded(INNER4))[:-1] + b"\0"
    elsewhere = Path(Endpoint(PATHS[4].remote.address, 999), PATHS[4].local)
    assert plane.receive(forged, path=elsewhere)[0] == XDP_DROP
    assert plane.kinds() == [] and plane.maps.sending(1) is None


@pytest.mark.parametrize("outer", range(4))
@pytest.mark.parametrize("inner", range(4))
@pytest.mark.parametrize("build", [ipv4, ipv6])
def test_ecn_is_merged_as_in_the_core(plane: DataPlane, outer: int, inner: int, build) -> None:  # type: ignore[no-untyped-def]
    source = "10.0.0.2" if build is ipv4 else "fd00::2"
    plane.peer(1, "10.0.0.2/32", "fd00::2/128")
    keys = plane.session(1)
    packet = build(source, "10.0.0.1" if build is ipv4 else "::1", b"data", ecn=inner)
    expected = decapsulate_ecn(packet, outer)
    if expected is None:
        assert plane.receive(keys.seal(padded(packet)), ds=outer)[0] == XDP_DROP
        assert plane.counts()["RX_BAD_ECN"] == 1
    else:
        _accepted(plane, keys.seal(padded(packet)), expected, ds=outer)


def test_what_is_not_ours_passes_untouched(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    message = plane.session(1).seal(padded(INNER4))
    frame = outer_frame(message, PATHS[4], PORT, 0)
    frame6 = outer_frame(message, PATHS[6], PORT, 0)
    assert frame and frame6
    other = replace(PATHS[4], local=replace(PATHS[4].local, address=PATHS[4].remote.address))  # type: ignore[type-var]
    hop_by_hop = frame6[:20] + b"\0" + frame6[21:54] + b"\x11" + bytes(7) + frame6[54:]
    cases = {
        "another port": outer_frame(message, PATHS[4], PORT + 1, 0),
        "another host": outer_frame(message, other, PORT, 0),
        "IPv4 options": frame[:14] + b"\x46" + frame[15:34] + bytes(4) + frame[34:],
        "IPv4 fragment": frame[:20] + b"\x20\0" + frame[22:],
        "IPv4 last fragment": frame[:20] + b"\0\1" + frame[22:],
        "IPv6 extension": hop_by_hop,
        "IPv6 fragment": frame6[:20] + b"\x2c" + frame6[21:],
        "TCP": frame[:23] + b"\x06" + frame[24:],
        "ARP": frame[:12] + b"\x08\x06" + frame[14:],
        "UDP longer than IP": frame[:38] + b"\xff\xff" + frame[40:],
        "cut": frame[:60],
        "two VLAN tags": frame[:12] + b"\x81\0\0\5\x81\0\0\6" + frame[12:],
    }
    for name, case in cases.items():
        assert case is not None
        assert plane.receive_frame(case) == (XDP_PASS, case), name
    handshake = outer_frame(b"\1\0\0\0" + bytes(144), PATHS[4], PORT, 0)
    assert handshake is not None
    assert plane.receive_frame(handshake) == (XDP_PASS, handshake)
    assert plane.counts()["PASS_HANDSHAKE"] == 1
    assert plane.counts()["PASS_FRAGMENT"] == 3


def test_data_behind_options_and_extension_headers_is_passed_up(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    keys = plane.session(1)
    for family in (4, 6):
        for extra in (8, 32):
            frame = outer_frame(keys.seal(padded(INNER4)), PATHS[family], PORT, 0)
            assert frame is not None
            frame = wrapped(frame, bytes(extra))
            before = plane.counts()
            assert plane.receive_frame(frame) == (XDP_PASS, frame)
            assert plane.counted(before) == {"PASS_OTHER": 1}
            plane.maps.clear_session(keys.session.local_index)
            assert plane.receive_frame(frame)[0] == XDP_DROP, "an unknown index gets no further"
            keys = plane.session(1)


def test_vlan_and_trailing_bytes(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    keys = plane.session(1)
    for tag, trailer in ((b"\x81\0\0\5", b""), (b"", bytes(30)), (b"\x81\0\x20\5", bytes(7))):
        frame = outer_frame(keys.seal(padded(INNER4)), PATHS[4], PORT, 0)
        assert frame is not None
        verdict, out = plane.receive_frame(frame[:12] + tag + frame[12:] + trailer)
        assert verdict == XDP_REDIRECT
        assert out[14:] == INNER4


def test_a_flipped_bit_anywhere_never_delivers(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    keys = plane.session(1)
    message = keys.seal(padded(INNER4))
    for bit in range(len(message) * 8):
        bad = bytearray(message)
        bad[bit // 8] ^= 1 << bit % 8
        verdict, _ = plane.receive(bytes(bad))
        assert verdict != XDP_REDIRECT, bit
    _accepted(plane, message, INNER4)


def test_a_retired_session_and_a_restricted_one(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    keys = plane.session(1)
    _accepted(plane, keys.seal(padded(INNER4)), INNER4)
    restrict = plane.programs["wg_restrict"]
    assert restrict.test_run(keys.session.local_index.to_bytes(4, "little").ljust(64, b"\0"))[0] == XDP_PASS
    _accepted(plane, keys.seal(padded(INNER4)), INNER4)
    state = plane.maps.read_session(keys.session.local_index)
    assert state is not None and state.state == abi.State.RECEIVE_ONLY and state.received == 2
    plane.maps.clear_session(keys.session.local_index)
    _refused(plane, keys.seal(padded(INNER4)), "RX_UNKNOWN_INDEX")


@pytest.mark.slow
def test_a_million_random_and_mutated_frames_redirect_nothing_forged(plane: DataPlane) -> None:
    plane.peer(1, "10.0.0.2/32")
    keys = plane.session(1)
    rng = random.Random(5)
    frames = [outer_frame(keys.seal(padded(INNER4)), PATHS[f], PORT, 0) or b"" for f in (4, 6)]
    frames.append(frames[0][:12] + b"\x81\0\0\5" + frames[0][12:])
    for n in range(1_000_000):
        if n % 4 == 0:
            frame = rng.randbytes(rng.randrange(14, 200))
            sealed_intact = False
        else:
            mutable = bytearray(rng.choice(frames))
            # Hit the message after its type: index, counter, ciphertext or tag.
            start = len(mutable) - len(padded(INNER4)) - 32
            at = rng.randrange(start + 4, len(mutable))
            mutable[at] ^= rng.randrange(1, 256)
            for _ in range(rng.randrange(3)):
                mutable[rng.randrange(len(mutable))] = rng.randrange(256)
            cut = rng.randrange(14, len(mutable) + 1) if rng.random() < 0.2 else len(mutable)
            frame = bytes(mutable[:cut])
            sealed_intact = frame[start:] in (f[-len(frame[start:]) :] for f in frames)
        verdict, _ = plane.receive_frame(frame)
        assert verdict in (XDP_PASS, XDP_DROP) or sealed_intact, frame.hex()

"""Random and mutated frames through both programs of the guard: every verdict is that of a slow twin."""

import random
from collections import Counter

import pytest

from wgbpf.datapath.libbpf import XDP_DROP, XDP_PASS, XDP_TX
from wgbpf.datapath.outerframe import outer_frame

from .dataplane import PORT
from .guardplane import GuardPlane, source, wrapped

_FRAMES = 300_000
"""Of each program."""
_LIVE = 7


def _twin(guard: GuardPlane, frame: bytes, seen: set[bytes], loaded: bool) -> str | None:
    """The count that a frame must raise; None: it is not for us, or not whole."""
    at = 14
    proto = frame[12:14]
    if proto == b"\x81\0":
        proto, at = frame[16:18], 18
    fragment = False
    if proto == b"\x08\0":
        head = frame[at : at + 20]
        if len(head) < 20 or head[0] >> 4 != 4 or head[0] & 15 < 5 or head[9] != 17:
            return None
        flags = int.from_bytes(head[6:8], "big")
        if flags & 0x1FFF:
            return "PASS_FRAGMENT"
        fragment = bool(flags & 0x2000)
        size, remote, local = int.from_bytes(head[2:4], "big"), head[12:16], head[16:20]
        at, size = at + (head[0] & 15) * 4, size - (head[0] & 15) * 4
    elif proto == b"\x86\xdd":
        head = frame[at : at + 40]
        if len(head) < 40 or head[0] >> 4 != 6:
            return None
        size, remote, local = int.from_bytes(head[4:6], "big"), head[8:24], head[24:40]
        at, kind = at + 40, head[6]
        for _ in range(8):
            if kind == 17:
                break
            more = frame[at : at + 8]
            if len(more) < 8 or kind not in (0, 43, 44, 60):
                return None
            if kind == 44 and (more[2] or more[3] & 0xF8):
                return "PASS_FRAGMENT"
            fragment = fragment or kind == 44
            skipped = 8 if kind == 44 else more[1] * 8 + 8
            at, size, kind = at + skipped, size - skipped, more[0]
        if kind != 17:
            return None
    else:
        return None
    return _udp(guard, frame, at, size, fragment, remote, local, seen, loaded)


def _udp(
    guard: GuardPlane,
    frame: bytes,
    at: int,
    size: int,
    fragment: bool,
    remote: bytes,
    local: bytes,
    seen: set[bytes],
    loaded: bool,
) -> str | None:
    udp = frame[at : at + 8]
    length = size if fragment else int.from_bytes(udp[4:6], "big")
    ours = {"c0000201", "20010db8000000000000000000000001"}
    if len(udp) < 8 or int.from_bytes(udp[2:4], "big") != PORT or not 8 <= length <= size:
        return None
    if local.hex() not in ours:
        return None
    if fragment:
        head = frame[at + 8 : at + min(length, 16)]
        if len(head) < 8 or head[:4] != b"\4\0\0\0":
            return "RX_FRAGMENT"
        return "PASS_FRAGMENT" if int.from_bytes(head[4:], "little") == _LIVE else "RX_UNKNOWN_INDEX"
    if len(frame) < at + length:
        return None
    return _judge(guard, frame[at + 8 : at + length], remote + udp[:2], seen, loaded)


def _judge(guard: GuardPlane, message: bytes, raw: bytes, seen: set[bytes], loaded: bool) -> str:
    if len(message) < 4:
        return "RX_BAD_LENGTH"
    kind = int.from_bytes(message[:4], "little")
    if kind not in (1, 2, 3, 4):
        return "RX_BAD_TYPE"
    if kind == 4:
        if len(message) < 32:
            return "RX_BAD_LENGTH"
        if guard.name == "wg_guard" and int.from_bytes(message[4:8], "little") == _LIVE:
            return "PASS_DATA"
        return "RX_UNKNOWN_INDEX"
    if len(message) != {1: 148, 2: 92, 3: 64}[kind]:
        return "RX_BAD_LENGTH"
    address = raw[:-2]
    if len(address) == 4:
        if address[0] in (0, 127) or address[0] >= 224:
            return "RX_BAD_SOURCE"
    elif address[0] == 0xFF or address in (bytes(16), bytes(15) + b"\1"):
        return "RX_BAD_SOURCE"
    if kind != 1 and int.from_bytes(message[8:12] if kind == 2 else message[4:8], "little") != _LIVE:
        return "RX_UNKNOWN_INDEX"
    if kind == 3:
        return "PASS_HANDSHAKE"
    if not guard.checker.check_mac1(message):
        return "RX_BAD_MAC1"
    if message[-32:] in seen:
        return "RX_DUPLICATE"
    if loaded and not (any(message[-16:]) and guard.checker.check_mac2(message, raw, 0.0)):
        return "RX_COOKIE_REQUIRED"
    seen.add(message[-32:])
    return "PASS_HANDSHAKE"


def _mutated(rng: random.Random, frame: bytes) -> bytes:
    mutable = bytearray(frame)
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 5))):
        mutable[rng.randrange(12, len(mutable))] = rng.randrange(256)
    if rng.random() < 0.1:
        return bytes(mutable[: rng.randrange(14, len(mutable) + 1)])
    if rng.random() < 0.1:
        mutable += rng.randbytes(rng.randrange(1, 40))
    return bytes(mutable)


@pytest.mark.slow
def test_every_frame_has_the_verdict_of_the_twin_and_one_count(guard: GuardPlane) -> None:
    rng = random.Random(11)
    guard.live(_LIVE, seconds=600)
    seen: set[bytes] = set()
    expected: Counter[str] = Counter()
    loaded = False
    for n in range(_FRAMES):
        if n % 1000 == 0:
            loaded = n // 1000 % 2 == 1
            guard.maps.loaded(0)
            if loaded:
                guard.load(600)
            # Later than what is remembered would be forgotten.
            seen.clear()
            fresh = _fresh(guard, rng)
        if n % 5 == 0:
            frame = rng.randbytes(rng.randrange(14, 300))
        else:
            frame = _mutated(rng, rng.choice(fresh))
        why = _twin(guard, frame, seen, loaded)
        verdict, out = guard.receive_frame(frame)
        expected[why or "PASS_OTHER"] += 1
        if why == "RX_COOKIE_REQUIRED" and verdict == XDP_TX:
            expected["COOKIES_SENT"] += 1
            assert len(out) <= len(frame)
        elif why is None or why.startswith("PASS"):
            assert (verdict, out) == (XDP_PASS, frame), (why, frame.hex())
        else:
            assert verdict == XDP_DROP, (why, frame.hex())
    counted = guard.counts()
    assert counted == dict(expected)
    assert sum(counted.values()) - counted["COOKIES_SENT"] == _FRAMES


def _fresh(guard: GuardPlane, rng: random.Random) -> list[bytes]:
    """Frames of every kind, none of which was seen before."""
    found = []
    for address in ("192.0.2.2", "198.51.100.9", "2001:db8::2"):
        path = source(address, rng.randrange(1, 65536))
        maker = guard.maker()
        first = guard.initiation(maker)
        maker.consume(guard.checker.reply(first, 1, path.remote.raw(), 0.0), 0.0)
        for message in (
            guard.initiation(),
            guard.initiation(maker),
            guard.initiation()[:-16] + rng.randbytes(16),
            guard.response(_LIVE, maker),
            guard.response(_LIVE),
            b"\3\0\0\0" + _LIVE.to_bytes(4, "little") + rng.randbytes(56),
            b"\4\0\0\0"
            + (_LIVE if guard.name == "wg_guard" else 9).to_bytes(4, "little")
            + rng.randbytes(60),
        ):
            frame = outer_frame(message, path, PORT, 0)
            assert frame is not None
            found += [frame, frame[:12] + b"\x81\0\0\5" + frame[12:], wrapped(frame)]
    return found

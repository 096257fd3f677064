"""BLAKE2s and XChaCha20-Poly1305 in BPF against hashlib, the draft and the core."""

import os
import random
from collections.abc import Iterator
from hashlib import blake2s
from pathlib import Path

import pytest

from wgbpf.datapath.guardkeys import keyed_state
from wgbpf.datapath.libbpf import XDP_PASS, Object, Program
from wgbpf.protocol.crypto import hchacha20, xaead_open, xaead_seal

from .build import compile_bpf

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root")

_JOBS = 16
_MAC_JOB = 168
_XAEAD_JOB = 256


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Program]]:
    made = Object(compile_bpf(Path(__file__).with_name("hash_test.bpf.c")))
    made.load()
    yield made.programs
    made.close()


def _macs(program: Program, jobs: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Up to 16 at a time."""
    frame = b"".join(state.ljust(32, b"\0") + data.ljust(_MAC_JOB - 32, b"\0") for state, data in jobs)
    verdict, out, _ = program.test_run(frame.ljust(_JOBS * _MAC_JOB, b"\0"))
    assert verdict == XDP_PASS
    return [out[n * _MAC_JOB : n * _MAC_JOB + 16] for n in range(len(jobs))]


def _sealed(program: Program, jobs: list[tuple[bytes, bytes, bytes, bytes]]) -> list[bytes]:
    """Key, nonce, associated data and text of each; up to 16 at a time."""
    frame = b"".join(b"".join(job).ljust(_XAEAD_JOB, b"\0") for job in jobs)
    verdict, out, _ = program.test_run(frame.ljust(_JOBS * _XAEAD_JOB, b"\0"))
    assert verdict == XDP_PASS
    return [out[n * _XAEAD_JOB + 72 : n * _XAEAD_JOB + 104] for n in range(len(jobs))]


@pytest.mark.parametrize(
    ("name", "length", "key_size"),
    [("mac_116", 116, 32), ("mac_60", 60, 32), ("mac_132", 132, 16), ("mac_76", 76, 16)],
)
def test_blake2s_equals_hashlib_for_ten_thousand_random_inputs(
    programs: dict[str, Program], name: str, length: int, key_size: int
) -> None:
    rng = random.Random(name)
    for _ in range(10_000 // _JOBS):
        keys = [rng.randbytes(key_size) for _ in range(_JOBS)]
        data = [rng.randbytes(length) for _ in range(_JOBS)]
        states = keys
        if key_size == 32:
            # A slow computation in Python: one key for all.
            keys = [keys[0]] * _JOBS
            states = [keyed_state(keys[0])] * _JOBS
        # What lies behind the data must not matter.
        found = _macs(
            programs[name], [(s, d + rng.randbytes(132 - length)) for s, d in zip(states, data, strict=True)]
        )
        assert found == [blake2s(d, key=k, digest_size=16).digest() for k, d in zip(keys, data, strict=True)]


@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
def test_blake2s_at_its_edges(programs: dict[str, Program], fill: bytes) -> None:
    for name, length, key_size in (
        ("mac_116", 116, 32),
        ("mac_60", 60, 32),
        ("mac_132", 132, 16),
        ("mac_76", 76, 16),
    ):
        key, data = fill * key_size, fill * length
        state = keyed_state(key) if key_size == 32 else key
        assert _macs(programs[name], [(state, data)]) == [blake2s(data, key=key, digest_size=16).digest()]


def test_hchacha20_of_the_draft_and_of_random_inputs(programs: dict[str, Program]) -> None:
    rng = random.Random(7)
    vector = bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927")
    for key, nonce in [vector, *((rng.randbytes(32), rng.randbytes(16)) for _ in range(1000))]:
        verdict, out, _ = programs["derive"].test_run((key + nonce).ljust(_XAEAD_JOB, b"\0"))
        assert verdict == XDP_PASS
        assert out[:32] == hchacha20(key, nonce)
    expected = "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    assert hchacha20(*vector).hex() == expected


def test_xchacha20_poly1305_of_the_draft_up_to_a_cookies_length(programs: dict[str, Program]) -> None:
    """The vector of A.3.1 is longer than a cookie: its key stream must be the same, the tag is the core's."""
    key, nonce, ad = bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58)), bytes(16)
    text = b"Ladies and Gentl"
    sealed = _sealed(programs["xaead"], [(key, nonce, ad, text)])[0]
    assert sealed[:16].hex() == "bd6d179d3e83d43b9576579493c0e939"
    assert xaead_open(key, nonce, sealed, ad) == text


def test_xchacha20_poly1305_equals_the_core_for_ten_thousand_random_inputs(
    programs: dict[str, Program],
) -> None:
    rng = random.Random(8)
    for _ in range(10_000 // _JOBS):
        jobs = [
            (rng.randbytes(32), rng.randbytes(24), rng.randbytes(16), rng.randbytes(16)) for _ in range(_JOBS)
        ]
        assert _sealed(programs["xaead"], jobs) == [xaead_seal(k, n, text, ad) for k, n, ad, text in jobs]

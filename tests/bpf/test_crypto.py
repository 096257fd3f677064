"""ChaCha20-Poly1305 in BPF against RFC 8439 and `cryptography`."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.poly1305 import Poly1305

from wgbpf.datapath.libbpf import XDP_DROP, XDP_PASS, Object, Program

from .build import compile_bpf

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root")

_JOB = 52


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Program]]:
    made = Object(compile_bpf(Path(__file__).with_name("crypto_test.bpf.c")))
    made.load()
    yield made.programs
    made.close()


def _job(key: bytes, nonce: int, length: int, padded: int = 0, shift: int = 0) -> bytes:
    numbers = (length, padded, shift)
    return key + nonce.to_bytes(8, "little") + b"".join(n.to_bytes(4, "little") for n in numbers)


def _seal(program: Program, key: bytes, nonce: int, plain: bytes, padded: int) -> bytes:
    shift = 16 + padded - len(plain)
    frame = _job(key, nonce, len(plain), padded, shift) + bytes(shift) + plain
    verdict, out, _ = program.test_run(frame)
    assert verdict == XDP_PASS
    assert len(out) == len(frame) == _JOB + padded + 16
    assert int.from_bytes(out[:4], "little") % 0xFFFF == _sum(out[_JOB:]) % 0xFFFF
    return out[_JOB:]


def _sum(data: bytes) -> int:
    """RFC 1071, before it is folded: zero and 0xffff are the same."""
    return int.from_bytes(data + bytes(-len(data) % 2), "little") % 0xFFFF


def _reference(key: bytes, nonce: int, plain: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(4) + nonce.to_bytes(8, "little"), plain, None)


def test_block_of_rfc_8439_a_1(programs: dict[str, Program]) -> None:
    # A.1, test vectors 1, 2 and 5 (keys and nonces that fit WireGuard's nonce layout).
    vectors = [
        (bytes(32), 0, 0, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"),
        (bytes(32), 0, 1, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"),
        (bytes(32), 2 << 56, 0, "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"),
    ]
    for key, nonce, counter, expected in vectors:
        verdict, out, _ = programs["block"].test_run(_job(key, nonce, counter) + bytes(64))
        assert verdict == XDP_PASS
        assert out[_JOB : _JOB + 32].hex() == expected


def test_sealing_and_opening_equal_the_reference_for_every_length(programs: dict[str, Program]) -> None:
    rng = random.Random(1)
    for length in range(1501):
        key, nonce, plain = rng.randbytes(32), rng.getrandbits(64), rng.randbytes(length)
        for padded in {length, -(-length // 16) * 16}:
            sealed = _seal(programs["seal"], key, nonce, plain, padded)
            padded_plain = plain + bytes(padded - length)
            assert sealed == _reference(key, nonce, padded_plain), f"{length} padded to {padded}"
            verdict, out, _ = programs["open"].test_run(_job(key, nonce, padded) + sealed)
            assert verdict == XDP_PASS
            assert out[_JOB : _JOB + padded] == padded_plain


def test_ten_thousand_random_keys_counters_and_lengths(programs: dict[str, Program]) -> None:
    rng = random.Random(2)
    for _ in range(10_000):
        key, nonce, plain = rng.randbytes(32), rng.getrandbits(64), rng.randbytes(rng.randrange(3392))
        assert _seal(programs["seal"], key, nonce, plain, len(plain)) == _reference(key, nonce, plain)


def test_poly1305_at_its_edges(programs: dict[str, Program]) -> None:
    """The greatest and least r, blocks that carry everywhere, sums at 2^128 and around 2^130 - 5 (RFC 8439, A.3)."""
    rng = random.Random(4)
    ones, blocks = b"\xff" * 16, [bytes(16), b"\xff" * 16, b"\xfb" + b"\xfe" * 15, b"\xfa" + b"\xff" * 15]
    blocks += [n.to_bytes(16, "little") for n in (1, 2, 4, 5, 2**127, 2**128 - 2, 2**96 - 1, 2**128 - 2**96)]
    for r in (ones, bytes(16), *(n.to_bytes(16, "little") for n in (1, 2, 4, 2**124 - 4, 2**96, 2**28 - 1))):
        for s in (bytes(16), ones):
            for _ in range(200):
                data = (
                    b"".join(rng.choice(blocks) for _ in range(rng.randrange(9)))
                    + rng.choice(blocks)[: rng.randrange(16)]
                )
                verdict, out, _ = programs["tag"].test_run(_job(r + s, 0, len(data)) + data + bytes(16))
                assert verdict == XDP_PASS
                message = data + bytes(-len(data) % 16) + bytes(8) + len(data).to_bytes(8, "little")
                assert out[-16:] == Poly1305.generate_tag(r + s, message), (r.hex(), s.hex(), data.hex())


def test_carries_at_their_edges(programs: dict[str, Program]) -> None:
    """Ciphertexts of all ones and all zeros drive the carries; the plaintext is chosen to give them."""
    rng = random.Random(3)
    for length in (16, 32, 64, 100, 1024, 1500):
        for fill in (b"\0", b"\xff"):
            key, nonce = rng.randbytes(32), rng.getrandbits(64)
            stream = _reference(key, nonce, bytes(length))[:length]
            plain = bytes(a ^ b for a, b in zip(stream, fill * length, strict=True))
            sealed = _seal(programs["seal"], key, nonce, plain, length)
            assert sealed[:length] == fill * length
            assert sealed == _reference(key, nonce, plain)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 64, 100, 160])
def test_a_flipped_bit_anywhere_is_refused_and_nothing_is_decrypted(
    programs: dict[str, Program], length: int
) -> None:
    key, nonce = os.urandom(32), 77
    sealed = _reference(key, nonce, bytes(range(256))[:length])
    for bit in range(len(sealed) * 8):
        bad = bytearray(sealed)
        bad[bit // 8] ^= 1 << bit % 8
        verdict, out, _ = programs["open"].test_run(_job(key, nonce, length) + bytes(bad))
        assert verdict == XDP_DROP
        assert out[_JOB:] == bytes(bad)

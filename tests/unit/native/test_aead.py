"""Our ChaCha20-Poly1305 against RFC 8439 and against `cryptography`, each implementation that the CPU has."""

import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

native = pytest.importorskip("wgbpf.native._pump", reason="the native pump is not built (make setup)")

NAMES = native.implementations()
TAG = 16

each = pytest.mark.parametrize("name", NAMES)


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")


def _expected(key: bytes, counter: int, text: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(_nonce(counter), text, None)


def test_the_reference_is_there_and_comes_last() -> None:
    assert NAMES[-1] == "OpenSSL"
    with pytest.raises(ValueError, match="ROT13"):
        native.seal("ROT13", bytes(32), 0, b"")


@each
def test_rfc_8439_2_4_2_encrypts_the_sunscreen(name: str) -> None:
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    sealed = native.seal(name, bytes(range(32)), 0x4A000000, text)
    assert sealed[:-TAG].hex() == (
        "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dabcd62b357"
        "1639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
        "5af90bbf74a35be6b40b8eedf2785e42874d"
    )


@each
def test_rfc_8439_a_1_key_stream_of_the_zero_key(name: str) -> None:
    sealed = native.seal(name, bytes(32), 0, bytes(64))
    assert sealed[:64].hex() == (
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d5"
        "31ed1f28510afb45ace10a1f4b794d6f"
    )


@each
def test_every_length_to_2100_is_sealed_and_opened_as_by_cryptography(name: str) -> None:
    rand = random.Random(name)
    for size in range(2101):
        key, counter, text = rand.randbytes(32), rand.getrandbits(64), rand.randbytes(size)
        expected = _expected(key, counter, text)
        assert native.seal(name, key, counter, text) == expected, size
        assert native.open(name, key, counter, expected) == text, size


@each
def test_random_lengths_to_the_largest_packet(name: str) -> None:
    rand = random.Random(name)
    for size in [65_535, 65_520, *(rand.randrange(65_536) for _ in range(100))]:
        key, counter, text = rand.randbytes(32), rand.getrandbits(64), rand.randbytes(size)
        expected = _expected(key, counter, text)
        assert native.seal(name, key, counter, text) == expected, size
        assert native.open(name, key, counter, expected) == text, size


@each
def test_padding_is_zeros(name: str) -> None:
    rand = random.Random(name)
    for size in [*range(130), *(rand.randrange(1600) for _ in range(300))]:
        key, counter, text = rand.randbytes(32), rand.getrandbits(64), rand.randbytes(size)
        pad = rand.randrange(17) if rand.random() < 0.5 else -size % 16
        assert native.seal(name, key, counter, text, size + pad) == _expected(key, counter, text + bytes(pad))


@each
def test_in_place_shifted_and_at_any_alignment(name: str) -> None:
    rand = random.Random(name)
    for _ in range(600):
        size = rand.randrange(1600) if rand.random() < 0.9 else rand.randrange(9000)
        key, counter, text = rand.randbytes(32), rand.getrandbits(64), rand.randbytes(size)
        expected = _expected(key, counter, text)
        at = rand.randrange(200)
        to = at - min(at, rand.choice((0, 0, 1, 15, 16, 17, 40, 64, 100)))
        assert native.seal(name, key, counter, text, 0, at, to) == expected
        assert native.open(name, key, counter, expected, 0, at, to) == text


@each
@pytest.mark.parametrize("size", [0, 1, 16, 63, 64, 100, 257, 320, 1424])
def test_every_flipped_bit_is_refused(name: str, size: int) -> None:
    key = bytes(range(32))
    sealed = bytearray(native.seal(name, key, 7, random.Random(size).randbytes(size)))
    bits = range(8 * len(sealed)) if size < 300 else range(8 * size - 64, 8 * len(sealed))
    for bit in bits:
        sealed[bit // 8] ^= 1 << bit % 8
        assert native.open(name, key, 7, bytes(sealed)) is None, bit
        sealed[bit // 8] ^= 1 << bit % 8
    assert native.open(name, key, 7, bytes(sealed)) is not None
    assert native.open(name, key, 8, bytes(sealed)) is None
    assert native.open(name, bytes(32), 7, bytes(sealed)) is None


@each
def test_lengths_are_part_of_what_is_authentic(name: str) -> None:
    key = bytes(range(32))
    sealed = native.seal(name, key, 7, bytes(64))
    for size in range(64):
        assert native.open(name, key, 7, sealed[:size] + sealed[-TAG:]) is None


def test_wrong_arguments_are_errors() -> None:
    for call in (
        lambda: native.seal(NAMES[0], bytes(31), 0, b""),
        lambda: native.open(NAMES[0], bytes(32), 0, bytes(15)),
        lambda: native.measure(NAMES[0], 70_000, 1),
    ):
        with pytest.raises(ValueError):
            call()

"""Primitives under the paper's names (section 5.4). The only module that imports `cryptography`.

Library objects keep copies of keys that Python cannot clear; what this package holds itself lies in
`Secret`, which can be wiped.
"""

import hmac as _hmac
import struct
from hashlib import blake2s

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from .constants import COOKIE_SIZE, KEY_SIZE, MAC_SIZE

ZERO_KEY = bytes(KEY_SIZE)

Buffer = bytes | bytearray | memoryview


class OpenError(Exception):
    """An authentication tag did not match, or a DH result was all zero."""


class Secret:
    """Key bytes that never show in a log or traceback and can be overwritten."""

    __slots__ = ("_bytes",)

    def __init__(self, value: Buffer) -> None:
        self._bytes = bytearray(value)

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare(self._bytes, other._bytes)

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __bool__(self) -> bool:
        """True unless it is the all-zero value, which stands for `no key`."""
        return any(self._bytes)

    def __repr__(self) -> str:
        return "Secret(...)"

    def wipe(self) -> None:
        """Overwrite with zeros, in place."""
        self._bytes[:] = bytes(len(self._bytes))


class PrivateKey:
    """An X25519 private key with its public half."""

    __slots__ = ("_key", "public")

    def __init__(self, value: Buffer) -> None:
        self._key = X25519PrivateKey.from_private_bytes(bytes(value))
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def dh(self, public: bytes) -> bytes:
        """X25519 (RFC 7748). Raises OpenError when the result is all zero (low-order point)."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise OpenError("low-order point") from error

    def __repr__(self) -> str:
        return "PrivateKey(...)"


def clamp(private: Buffer) -> bytes:
    """The canonical form of an X25519 private key (RFC 7748, section 5)."""
    out = bytearray(private)
    out[0] &= 248
    out[31] = (out[31] & 127) | 64
    return bytes(out)


def compare(a: Buffer, b: Buffer) -> bool:
    """Equality in constant time."""
    return _hmac.compare_digest(a, b)


def hash_(*parts: Buffer) -> bytes:
    """HASH: BLAKE2s, 32 bytes (RFC 7693)."""
    state = blake2s()
    for part in parts:
        state.update(part)
    return state.digest()


def mac(key: Buffer, *parts: Buffer) -> bytes:
    """MAC: keyed BLAKE2s, 16 bytes."""
    state = blake2s(key=bytes(key), digest_size=MAC_SIZE)
    for part in parts:
        state.update(part)
    return state.digest()


def _hmac_blake2s(key: Buffer, data: Buffer) -> bytes:
    return _hmac.new(bytes(key), data, blake2s).digest()


def kdf(count: int, chaining_key: Buffer, data: Buffer) -> list[bytes]:
    """KDF1..3: HKDF over HMAC-BLAKE2s; returns `count` keys of 32 bytes."""
    secret = _hmac_blake2s(chaining_key, data)
    out: list[bytes] = []
    last = b""
    for n in range(1, count + 1):
        last = _hmac_blake2s(secret, last + bytes([n]))
        out.append(last)
    return out


class Aead:
    """ChaCha20-Poly1305 (RFC 8439) with the 64-bit counter nonce of the paper."""

    __slots__ = ("_cipher",)

    def __init__(self, key: Buffer) -> None:
        self._cipher = ChaCha20Poly1305(bytes(key))

    def seal(self, counter: int, plain: Buffer, ad: Buffer = b"") -> bytes:
        return self._cipher.encrypt(struct.pack("<IQ", 0, counter), plain, ad or None)

    def open(self, counter: int, sealed: Buffer, ad: Buffer = b"") -> bytes:
        """The plaintext; raises OpenError when the tag does not match."""
        try:
            return self._cipher.decrypt(struct.pack("<IQ", 0, counter), sealed, ad or None)
        except InvalidTag as error:
            raise OpenError("bad tag") from error


def hchacha20(key: Buffer, nonce: Buffer) -> bytes:
    """HChaCha20 (draft-irtf-cfrg-xchacha-03, 2.2), from one block of the ChaCha20 key stream.

    The key stream block is the permuted state plus the initial one, so subtracting the known words
    of the initial state leaves what HChaCha20 returns.
    """
    stream = Cipher(ChaCha20(bytes(key), bytes(nonce)), mode=None).encryptor().update(bytes(64))
    words = struct.unpack("<16I", stream)
    start = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *struct.unpack("<4I", nonce))
    mixed = (*words[:4], *words[12:])
    return struct.pack("<8I", *((w - s) & 0xFFFFFFFF for w, s in zip(mixed, start, strict=True)))


def _xaead(key: Buffer, nonce: bytes) -> tuple[ChaCha20Poly1305, bytes]:
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])), bytes(4) + nonce[16:]


def xaead_seal(key: Buffer, nonce: bytes, plain: Buffer, ad: Buffer) -> bytes:
    """XAEAD: XChaCha20-Poly1305 with a 24-byte nonce."""
    cipher, short = _xaead(key, nonce)
    return cipher.encrypt(short, plain, ad)


def xaead_open(key: Buffer, nonce: bytes, sealed: Buffer, ad: Buffer) -> bytes:
    """Raises OpenError when the tag does not match."""
    cipher, short = _xaead(key, nonce)
    try:
        return cipher.decrypt(short, sealed, ad)
    except InvalidTag as error:
        raise OpenError("bad tag") from error


def make_cookie(secret: Buffer, source: bytes) -> bytes:
    """The cookie of a source, given as its raw address followed by its big-endian port (5.4.7)."""
    return blake2s(source, key=bytes(secret), digest_size=COOKIE_SIZE).digest()

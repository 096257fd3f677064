"""What the guard's programs take in place of keys: BLAKE2s states after the key block (RFC 7693)."""

import struct
from typing import Final

from ..protocol.constants import KEY_SIZE, LABEL_COOKIE, LABEL_MAC1, MAC_SIZE
from ..protocol.crypto import hash_

_MASK = 0xFFFFFFFF
_BLOCK = 64
_IV: Final = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
_SIGMA: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_COLUMNS_AND_DIAGONALS: Final = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)


def mac1_key(public_key: bytes) -> bytes:
    """Of messages to the owner of the key."""
    return hash_(LABEL_MAC1, public_key)


def cookie_key(public_key: bytes) -> bytes:
    """Of cookie replies by the owner of the key."""
    return hash_(LABEL_COOKIE, public_key)


def keyed_state(key: bytes) -> bytes:
    """The state of MAC(key, ...) for a key of 32 bytes, before any data."""
    h = [_IV[0] ^ 0x01010000 ^ KEY_SIZE << 8 ^ MAC_SIZE, *_IV[1:]]
    words = struct.unpack("<16I", key.ljust(_BLOCK, b"\0"))
    v = [*h, *_IV]
    v[12] ^= _BLOCK
    for sigma in _SIGMA:
        for n, (a, b, c, d) in enumerate(_COLUMNS_AND_DIAGONALS):
            v[a] = v[a] + v[b] + words[sigma[2 * n]] & _MASK
            v[d] = _rotated(v[d] ^ v[a], 16)
            v[c] = v[c] + v[d] & _MASK
            v[b] = _rotated(v[b] ^ v[c], 12)
            v[a] = v[a] + v[b] + words[sigma[2 * n + 1]] & _MASK
            v[d] = _rotated(v[d] ^ v[a], 8)
            v[c] = v[c] + v[d] & _MASK
            v[b] = _rotated(v[b] ^ v[c], 7)
    return struct.pack("<8I", *(h[n] ^ v[n] ^ v[n + 8] for n in range(8)))


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << 32 - by) & _MASK

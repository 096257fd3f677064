"""Keys as text: base64 for people and files, hex for the UAPI."""

import base64
import binascii
from collections.abc import Callable

from ..protocol.constants import KEY_SIZE
from ..protocol.crypto import Buffer, PrivateKey, clamp

_BASE64_LENGTH = 44


def encode_key(key: Buffer) -> str:
    return base64.b64encode(key).decode()


def decode_key(text: str) -> bytes:
    """32 bytes from their canonical base64. Raises ValueError."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_SIZE or len(text) != _BASE64_LENGTH or encode_key(key) != text:
        raise ValueError("a key is 32 bytes in base64: 44 characters, the last one `=`")
    return key


def decode_hex_key(text: str) -> bytes:
    """32 bytes from 64 hex digits. Raises ValueError."""
    if len(text) != 2 * KEY_SIZE or not text.isalnum() or not text.isascii():
        raise ValueError("a key has 64 hex digits")
    return bytes.fromhex(text)


def short_key(key: bytes) -> str:
    """Enough to tell peers apart in a log, as wireguard-go prints them."""
    text = encode_key(key)
    return f"{text[:4]}…{text[-5:-1]}"


def genkey(rand: Callable[[int], bytes]) -> bytes:
    """A private key, clamped (RFC 7748, section 5)."""
    return clamp(rand(KEY_SIZE))


def pubkey(private: bytes) -> bytes:
    return PrivateKey(private).public


def genpsk(rand: Callable[[int], bytes]) -> bytes:
    return rand(KEY_SIZE)

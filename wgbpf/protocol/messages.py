"""The four messages (sections 5.4.2 to 5.4.7): layouts, parsing, packing. Little-endian throughout."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .constants import COOKIE_SIZE, KEY_SIZE, MAC_SIZE, TAG_SIZE, TIMESTAMP_SIZE, XNONCE_SIZE
from .crypto import Buffer
from .drops import Drop, Rejected


class MessageType(IntEnum):
    """First byte of a message; the three after it are zero, so it is read as one 32-bit number."""

    INITIATION = 1
    RESPONSE = 2
    COOKIE_REPLY = 3
    DATA = 4


_INITIATION = struct.Struct(f"<II{KEY_SIZE}s{KEY_SIZE + TAG_SIZE}s{TIMESTAMP_SIZE + TAG_SIZE}s")
_RESPONSE = struct.Struct(f"<III{KEY_SIZE}s{TAG_SIZE}s")
_COOKIE_REPLY = struct.Struct(f"<II{XNONCE_SIZE}s{COOKIE_SIZE + TAG_SIZE}s")
_DATA_HEADER = struct.Struct("<IIQ")

INITIATION_SIZE: Final = _INITIATION.size + 2 * MAC_SIZE
RESPONSE_SIZE: Final = _RESPONSE.size + 2 * MAC_SIZE
COOKIE_REPLY_SIZE: Final = _COOKIE_REPLY.size
DATA_HEADER_SIZE: Final = _DATA_HEADER.size
DATA_OVERHEAD: Final = DATA_HEADER_SIZE + TAG_SIZE
MAX_INDEX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Initiation:
    """Section 5.4.2. `raw` is the whole message, on which mac1 and mac2 are checked."""

    sender: int
    ephemeral: bytes
    static: bytes
    timestamp: bytes
    raw: bytes = b""

    def pack(self) -> bytes:
        """The message up to mac1."""
        return _INITIATION.pack(
            MessageType.INITIATION, self.sender, self.ephemeral, self.static, self.timestamp
        )


@dataclass(frozen=True, slots=True)
class Response:
    """Section 5.4.3."""

    sender: int
    receiver: int
    ephemeral: bytes
    empty: bytes
    raw: bytes = b""

    def pack(self) -> bytes:
        """The message up to mac1."""
        return _RESPONSE.pack(MessageType.RESPONSE, self.sender, self.receiver, self.ephemeral, self.empty)


@dataclass(frozen=True, slots=True)
class CookieReply:
    """Section 5.4.7."""

    receiver: int
    nonce: bytes
    cookie: bytes

    def pack(self) -> bytes:
        return _COOKIE_REPLY.pack(MessageType.COOKIE_REPLY, self.receiver, self.nonce, self.cookie)


@dataclass(frozen=True, slots=True)
class Data:
    """Section 5.4.6. `sealed` is the encrypted inner packet with its tag."""

    receiver: int
    counter: int
    sealed: bytes

    def pack(self) -> bytes:
        return pack_data_header(self.receiver, self.counter) + self.sealed


Message = Initiation | Response | CookieReply | Data


def pack_data_header(receiver: int, counter: int) -> bytes:
    """The 16 clear bytes in front of a sealed packet."""
    return _DATA_HEADER.pack(MessageType.DATA, receiver, counter)


def parse(datagram: Buffer) -> Message:
    """The message in a datagram; raises Rejected for anything else (section 5.4, first checks)."""
    if len(datagram) < 4:
        raise Rejected(Drop.BAD_LENGTH)
    kind = int.from_bytes(datagram[:4], "little")
    if kind == MessageType.DATA:
        if len(datagram) < DATA_OVERHEAD:
            raise Rejected(Drop.BAD_LENGTH)
        _, receiver, counter = _DATA_HEADER.unpack_from(datagram)
        return Data(receiver, counter, bytes(datagram[DATA_HEADER_SIZE:]))
    raw = bytes(datagram)
    match kind:
        case MessageType.INITIATION:
            _expect(raw, INITIATION_SIZE)
            _, sender, ephemeral, static, timestamp = _INITIATION.unpack_from(raw)
            return Initiation(sender, ephemeral, static, timestamp, raw)
        case MessageType.RESPONSE:
            _expect(raw, RESPONSE_SIZE)
            _, sender, receiver, ephemeral, empty = _RESPONSE.unpack_from(raw)
            return Response(sender, receiver, ephemeral, empty, raw)
        case MessageType.COOKIE_REPLY:
            _expect(raw, COOKIE_REPLY_SIZE)
            _, receiver, nonce, cookie = _COOKIE_REPLY.unpack_from(raw)
            return CookieReply(receiver, nonce, cookie)
    raise Rejected(Drop.BAD_TYPE)


def _expect(raw: bytes, size: int) -> None:
    if len(raw) != size:
        raise Rejected(Drop.BAD_LENGTH)

"""What floods are made of: seven kinds of junk, each what somebody without our private key can make."""

import os
import random
from dataclasses import dataclass
from enum import StrEnum

from wgbpf.protocol.cookies import CookieMaker
from wgbpf.protocol.messages import Initiation

from . import MANY_SOURCES

_MESSAGES = 16_384
"""As many as differ; they are sent in turn."""


class Kind(StrEnum):
    RANDOM_BYTES = "a"
    UNKNOWN_INDEX = "b"
    WRONG_MAC1 = "c"
    RIGHT_MAC1 = "d"
    REPLAY = "e"
    GARBAGE = "f"
    ONE_SOURCE = "g"

    @property
    def text(self) -> str:
        return _TEXTS[self]


_TEXTS = {
    Kind.RANDOM_BYTES: "random bytes",
    Kind.UNKNOWN_INDEX: "data, unknown index",
    Kind.WRONG_MAC1: "initiations, wrong mac1",
    Kind.RIGHT_MAC1: "initiations, right mac1, random sources",
    Kind.REPLAY: "one valid initiation, replayed",
    Kind.GARBAGE: "data, live index, garbage",
    Kind.ONE_SOURCE: "initiations, right mac1, one source",
}


@dataclass(frozen=True)
class Target:
    """What the attacker knows of the victim."""

    public_key: bytes
    recorded: bytes = b""
    """A whole valid initiation; for kind (e)."""
    live_index: int = 0
    """For kind (f)."""


def messages(kind: Kind, target: Target) -> list[bytes]:
    rng = random.Random(kind.value)
    match kind:
        case Kind.RANDOM_BYTES:
            # Whatever they are, they are no WireGuard.
            return [b"\xee" + rng.randbytes(rng.randrange(60, 600)) for _ in range(2048)]
        case Kind.UNKNOWN_INDEX:
            return [b"\4\0\0\0" + rng.randbytes(4 + 8 + 64) for _ in range(_MESSAGES)]
        case Kind.GARBAGE:
            head = b"\4\0\0\0" + target.live_index.to_bytes(4, "little")
            # Counters that a window takes.
            return [head + (1 << 20 | n).to_bytes(8, "little") + rng.randbytes(64) for n in range(4096)]
        case Kind.REPLAY:
            return [target.recorded]
        case Kind.WRONG_MAC1:
            return [
                _initiation(target.public_key)[:-32] + rng.randbytes(16) + bytes(16) for _ in range(_MESSAGES)
            ]
        case Kind.RIGHT_MAC1 | Kind.ONE_SOURCE:
            return [_initiation(target.public_key) for _ in range(_MESSAGES)]
    raise AssertionError(kind)


def sources(kind: Kind) -> int:
    """0: one, the attacker's own."""
    return 0 if kind in (Kind.REPLAY, Kind.ONE_SOURCE) else MANY_SOURCES


_makers: dict[bytes, CookieMaker] = {}


def _initiation(public_key: bytes) -> bytes:
    """Random but for its mac1: nobody can tell without a Diffie-Hellman."""
    maker = _makers.setdefault(public_key, CookieMaker(public_key))
    index = int.from_bytes(os.urandom(4), "little")
    return maker.stamp(Initiation(index, os.urandom(32), os.urandom(48), os.urandom(28)).pack(), 0.0)

"""TAI64N time stamps of initiations (section 5.4.2 and https://cr.yp.to/libtai/tai64.html)."""

from .constants import TIMESTAMP_SIZE, TIMESTAMP_STEP_NS

_EPOCH = 2**62 + 10
_NS = 1_000_000_000


def stamp(wall_ns: int) -> bytes:
    """12 bytes for a time in nanoseconds since the Unix epoch; they sort as bytes."""
    seconds, ns = divmod(wall_ns, _NS)
    ns -= ns % TIMESTAMP_STEP_NS
    return (_EPOCH + seconds).to_bytes(8, "big") + ns.to_bytes(4, "big")


def next_after(previous: bytes) -> int:
    """The earliest Unix time in ns whose stamp is greater than `previous`."""
    if len(previous) != TIMESTAMP_SIZE:
        raise ValueError("a TAI64N stamp has 12 bytes")
    seconds = int.from_bytes(previous[:8], "big") - _EPOCH
    ns = int.from_bytes(previous[8:], "big") + TIMESTAMP_STEP_NS
    if ns >= _NS:
        return (seconds + 1) * _NS
    return seconds * _NS + ns

"""Token buckets by source (IPv4 address, IPv6 /64), as in the kernel's ratelimiter.c.

Credit is time: one message costs 1/20 s, at most 5 messages' worth can be saved. The table is bounded;
when it is full, sources that are new to it are refused.
"""

from .constants import LIMITER_BURST, LIMITER_IDLE, LIMITER_MAX_ENTRIES, LIMITER_PACKETS_PER_SECOND

_COST = 1 / LIMITER_PACKETS_PER_SECOND
_MAX_CREDIT = LIMITER_BURST * _COST
_EPSILON = 1e-9


def limiter_key(address: bytes) -> bytes:
    """A raw address (4 or 16 bytes) as the limiter sees it: an IPv6 source is its /64."""
    return address[:8] if len(address) == 16 else address


class RateLimiter:
    """`allow` says whether one more message of a source may cost us a Diffie-Hellman."""

    def __init__(self, max_entries: int = LIMITER_MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: dict[bytes, tuple[float, float]] = {}
        self._swept = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def allow(self, address: bytes, now: float) -> bool:
        """Takes one token of the raw source address; False when there is none."""
        self._sweep(now)
        key = limiter_key(address)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._max_entries:
                return False
            self._entries[key] = (_MAX_CREDIT - _COST, now)
            return True
        credit, last = entry
        credit = min(_MAX_CREDIT, credit + max(0.0, now - last))
        allowed = credit >= _COST - _EPSILON
        self._entries[key] = (credit - _COST if allowed else credit, now)
        return allowed

    def _sweep(self, now: float) -> None:
        if 0 <= now - self._swept < LIMITER_IDLE:
            return
        self._swept = now
        self._entries = {k: e for k, e in self._entries.items() if now - e[1] <= LIMITER_IDLE}

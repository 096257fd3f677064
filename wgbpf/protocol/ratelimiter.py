"""Token buckets by source (IPv4 address, IPv6 /64), as in the kernel's ratelimiter.c.

Credit is time: with the kernel's numbers one message costs 1/20 s, and at most 5 messages' worth can be
saved. The table is bounded; when it is full, sources that are new to it are refused.
"""

from .constants import LIMITER_BURST, LIMITER_IDLE, LIMITER_MAX_ENTRIES, LIMITER_PACKETS_PER_SECOND

_EPSILON = 1e-9


def limiter_key(address: bytes) -> bytes:
    """A raw address (4 or 16 bytes) as the limiter sees it: an IPv6 source is its /64."""
    return address[:8] if len(address) == 16 else address


class RateLimiter:
    """`allow` says whether one more message of a source may cost us a Diffie-Hellman."""

    def __init__(
        self,
        max_entries: int = LIMITER_MAX_ENTRIES,
        rate: int = LIMITER_PACKETS_PER_SECOND,
        burst: int = LIMITER_BURST,
    ) -> None:
        self._max_entries = max_entries
        self._cost = 1 / rate
        self._max_credit = burst * self._cost
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
            self._entries[key] = (self._max_credit - self._cost, now)
            return True
        credit, last = entry
        credit = min(self._max_credit, credit + max(0.0, now - last))
        allowed = credit >= self._cost - _EPSILON
        self._entries[key] = (credit - self._cost if allowed else credit, now)
        return allowed

    def _sweep(self, now: float) -> None:
        if 0 <= now - self._swept < LIMITER_IDLE:
            return
        self._swept = now
        idle = max(LIMITER_IDLE, self._max_credit)
        self._entries = {k: e for k, e in self._entries.items() if now - e[1] <= idle}

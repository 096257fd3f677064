"""The guard of a data path: settings in, facts out. Where its program sits is the business of others."""

from collections.abc import Callable, Mapping
from typing import Final

from ..protocol.actions import Session
from .abi import Count
from .guardmaps import GuardMaps
from .interface import Guard, GuardSettings, GuardState

OFF: Final = "turned off (--guard off)"

REASONS: Final[Mapping[str, Count]] = {
    "bad_source": Count.RX_BAD_SOURCE,
    "fragment": Count.RX_FRAGMENT,
    "bad_mac1": Count.RX_BAD_MAC1,
    "duplicate": Count.RX_DUPLICATE,
    "cookie_required": Count.RX_COOKIE_REQUIRED,
    "rate_limited": Count.RX_RATE_LIMITED,
}
"""What only a guard refuses for; types, lengths and indices are refused by the data path too."""


class XdpGuard(Guard):
    """On the maps of a loaded program; `where` says of which, `count` reads its counters."""

    def __init__(self, maps: GuardMaps, count: Callable[[Count], int], where: Callable[[], str]) -> None:
        super().__init__("")
        self._maps = maps
        self._count = count
        self._where = where

    @property
    def on(self) -> bool:
        return True

    def set(self, settings: GuardSettings | None) -> None:
        if settings is None:
            self._maps.off()
        else:
            self._maps.set(settings)

    def loaded(self, until: float) -> None:
        self._maps.loaded(until)

    def sent(self, datagram: bytes) -> None:
        self._maps.live.sent(datagram)

    def installed(self, session: Session) -> None:
        self._maps.live.installed(session)

    def retired(self, local_index: int) -> None:
        self._maps.live.retired(local_index)

    def state(self) -> GuardState:
        return GuardState(
            True,
            self._where(),
            self._maps.under_load(),
            self._count(Count.COOKIES_SENT),
            {name: self._count(which) for name, which in REASONS.items()},
            self._maps.memory(),
        )

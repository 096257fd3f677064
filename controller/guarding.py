"""Keeps the guard in front of the data path in step with the core: its key, its secrets, its load."""

import asyncio
from collections.abc import Callable

from wgbpf.datapath.interface import DataPath, GuardLimits, GuardSettings
from wgbpf.protocol.constants import UNDER_LOAD_STICKY
from wgbpf.protocol.device import Device

_LOAD_REPORT = 0.1
"""Seconds between two reports of one load."""


class Guarding:
    """The core owns the secrets: it opens the door to whom the guard gave a cookie, and the reverse."""

    def __init__(
        self, device: Device, datapath: DataPath, limits: GuardLimits, clock: Callable[[], float]
    ) -> None:
        self._device = device
        self._datapath = datapath
        self._limits = limits
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._told: GuardSettings | None = None
        self._told_load = 0.0

    def refresh(self) -> None:
        """A key may have changed, a secret be due, a guard have come: tell it; come back when one is due."""
        self.stop()
        if not self._datapath.guard.on:
            self._told = None
            return
        now = self._clock()
        wanted = self._wanted(now)
        if wanted != self._told or wanted is None:
            self._datapath.guard.set(wanted)
            self._told = wanted
        due = self._device.cookie_secrets_due()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - now), self.refresh)

    def _wanted(self, now: float) -> GuardSettings | None:
        key, secrets = self._device.public_key, self._device.cookie_secrets(now)
        if key is None or secrets is None:
            return None
        secret, previous = secrets
        return GuardSettings(key, bytes(secret), None if previous is None else bytes(previous), self._limits)

    def look_at_load(self) -> None:
        """To be called while handshakes wait: the guard asks for cookies as long as the core would."""
        now = self._clock()
        if now - self._told_load < _LOAD_REPORT or not self._datapath.guard.on:
            return
        if self._device.under_load(now):
            self._told_load = now
            self._datapath.guard.loaded(now + UNDER_LOAD_STICKY)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

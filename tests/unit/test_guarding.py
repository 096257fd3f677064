"""What the controller tells a guard, and when."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from controller.guarding import Guarding
from wgbpf.datapath.interface import DataPath, Guard, GuardLimits, GuardSettings
from wgbpf.protocol.changes import DeviceChange
from wgbpf.protocol.constants import COOKIE_SECRET_MAX_AGE
from wgbpf.protocol.crypto import Secret
from wgbpf.protocol.device import Device


class Recorder(Guard):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__("")
        self.is_on = True
        self.settings: list[GuardSettings | None] = []
        self.loads: list[float] = []

    @property
    def on(self) -> bool:
        return self.is_on

    def set(self, settings: GuardSettings | None) -> None:
        self.settings.append(settings)

    def loaded(self, until: float) -> None:
        self.loads.append(until)


class Site:
    """A device, a data path that is nothing but its guard, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.device = Device(os.urandom)
        self.guard = Recorder()
        path = type("Path", (), {"guard": self.guard})()
        assert not isinstance(path, DataPath)
        self.guarding = Guarding(self.device, path, GuardLimits(load_rate=777), lambda: self.now)

    def set_key(self, key: bytes) -> None:
        self.device.configure(DeviceChange(private_key=Secret(key)), self.now)
        self.guarding.refresh()

    @property
    def last(self) -> GuardSettings:
        settings = self.guard.settings[-1]
        assert settings is not None
        return settings


@pytest.fixture
def site() -> Iterator[Site]:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        asyncio.set_event_loop(loop)
        made: list[Site] = []

        async def make() -> None:
            made.append(Site())

        runner.run(make())
        yield made[0]
        made[0].guarding.stop()
        asyncio.set_event_loop(None)


def _in_loop(step: object) -> None:
    async def run() -> None:
        step()  # type: ignore[operator]

    asyncio.get_event_loop().run_until_complete(run())


def test_a_key_and_only_a_change_of_it_is_told(site: Site) -> None:
    key = os.urandom(32)
    _in_loop(lambda: site.set_key(key))
    assert site.last.public_key == site.device.public_key
    assert site.last.limits.load_rate == 777
    _in_loop(lambda: site.set_key(key))
    assert len(site.guard.settings) == 1
    _in_loop(lambda: site.set_key(os.urandom(32)))
    assert len(site.guard.settings) == 2 and site.last.public_key == site.device.public_key
    _in_loop(lambda: site.set_key(bytes(32)))
    assert site.guard.settings[-1] is None


def test_a_secret_lives_120_seconds_and_is_the_previous_one_for_as_long(site: Site) -> None:
    _in_loop(lambda: site.set_key(os.urandom(32)))
    first = site.last
    assert first.previous_cookie_secret is None
    timer = site.guarding._timer
    assert timer is not None
    assert abs(timer.when() - asyncio.get_event_loop().time() - COOKIE_SECRET_MAX_AGE) < 1
    for _ in range(3):
        before = site.last
        site.now += COOKIE_SECRET_MAX_AGE
        _in_loop(site.guarding.refresh)
        assert site.last.previous_cookie_secret == before.cookie_secret != site.last.cookie_secret
        secrets = site.device.cookie_secrets(site.now)
        assert secrets is not None and secrets[1] is not None
        assert (site.last.cookie_secret, site.last.previous_cookie_secret) == (
            bytes(secrets[0]),
            bytes(secrets[1]),
        )


def test_a_guard_that_comes_later_is_told_all(site: Site) -> None:
    site.guard.is_on = False
    _in_loop(lambda: site.set_key(os.urandom(32)))
    assert site.guard.settings == [] and site.guarding._timer is None
    site.guard.is_on = True
    _in_loop(site.guarding.refresh)
    assert site.last.public_key == site.device.public_key


def test_load_is_told_while_it_lasts_ten_times_a_second(site: Site) -> None:
    _in_loop(lambda: site.set_key(os.urandom(32)))
    site.guarding.look_at_load()
    assert site.guard.loads == []
    site.device.under_load = lambda now: True  # type: ignore[method-assign]
    for _ in range(100):
        site.guarding.look_at_load()
        site.now += 0.01
    assert 9 <= len(site.guard.loads) <= 11
    assert site.guard.loads[0] == 1001.0

"""Fixtures of the BPF tests."""

import os
from collections.abc import Iterator

import pytest

from .dataplane import DataPlane
from .guardplane import PROGRAMS, GuardPlane


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    if os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root")
    made = DataPlane()
    yield made
    made.close()


@pytest.fixture(params=PROGRAMS)
def guard(request: pytest.FixtureRequest) -> Iterator[GuardPlane]:
    if os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root")
    made = GuardPlane(request.param)
    yield made
    made.close()

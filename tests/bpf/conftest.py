"""Fixtures of the BPF tests."""

import os
from collections.abc import Iterator

import pytest

from .dataplane import DataPlane


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    if os.geteuid() != 0:
        pytest.skip("loading BPF programs needs root")
    made = DataPlane()
    yield made
    made.close()

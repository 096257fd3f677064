"""The pump that most tests here want."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .pumpbench import Bench


@pytest.fixture
def bench() -> Iterator["Bench"]:
    from .pumpbench import benches  # only where the extension is

    with benches() as made:
        yield made

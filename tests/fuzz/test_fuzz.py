"""The short run that belongs to every test run."""

import pytest

from .__main__ import fuzz
from .targets import TARGETS


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seconds"), [("core", 12), ("uapi", 4), ("config", 4)])
def test_nothing_but_actions_named_drops_and_named_errors(name: str, seconds: float) -> None:
    done, finding = fuzz(name, TARGETS[name], seconds, seed=1)
    assert finding is None, finding
    assert done > 100 * seconds

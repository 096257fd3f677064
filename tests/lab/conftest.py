"""Fixtures of the lab. Without root or tools its tests are skipped; in CI that is a failure."""

import os
import shutil
from collections.abc import Iterator

import pytest

from .lab import Lab
from .nodes import Wgbpf

_TOOLS = ("ip", "nsenter", "ping", "wg", "wireguard-go", "iperf3", "tcpdump", "nft")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    lack = _what_is_missing()
    if lack is None:
        return
    for item in items:
        if "tests/lab" in str(item.path):
            item.add_marker(pytest.mark.skip(reason=lack))


def _what_is_missing() -> str | None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        lack = "the lab needs root"
    elif missing:
        lack = f"the lab needs {', '.join(missing)} (make setup)"
    else:
        return None
    if os.environ.get("CI") == "true":
        pytest.exit(lack, returncode=1)
    return lack


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="module")
def module_lab(datapath: str) -> Iterator[Lab]:
    """For tests of one module that can share their hosts."""
    with Lab() as made:
        yield made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `every_datapath` run on each, unless one is asked for: `pytest --datapath xdp`."""
    if "datapath" not in metafunc.fixturenames:
        return
    asked = metafunc.config.getoption("--datapath")
    every = ("tun", "xdp") if metafunc.definition.get_closest_marker("every_datapath") else ("tun",)
    metafunc.parametrize("datapath", [asked] if asked else every, indirect=True, scope="module")


@pytest.fixture(scope="module", autouse=True)
def datapath(request: pytest.FixtureRequest) -> str:
    """What the lab's wgbpf runs."""
    Wgbpf.datapath = request.param
    return Wgbpf.datapath


@pytest.fixture
def load_seconds(request: pytest.FixtureRequest) -> int:
    """`pytest --load-seconds 30` for the long form."""
    return int(request.config.getoption("--load-seconds"))

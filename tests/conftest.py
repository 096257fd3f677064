"""Options of the test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--datapath", default="tun", help="data path that the lab's wgbpf runs (tun, xdp)")

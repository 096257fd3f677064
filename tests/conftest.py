"""Options of the test run."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--datapath", help="run the whole lab on this data path (tun, xdp, tun-python)")
    parser.addoption("--load-seconds", type=int, default=3, help="of each flow of the load tests")

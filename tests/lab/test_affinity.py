"""Where the native pump's receiving thread runs: with little to do on the CPU that the datagrams arrive at."""

import os
import re
from pathlib import Path

import pytest

from .lab import Lab, wait_until
from .nodes import Wgbpf, WireguardGo
from .traffic import iperf3

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is only one CPU")


def _bound(node: Wgbpf) -> list[int]:
    """The CPUs of threads that may run on one alone."""
    assert node.process is not None
    tasks = Path(f"/proc/{node.process.pid}/task").glob("*/status")
    found = (re.search(r"^Cpus_allowed_list:\s+(\S+)$", task.read_text(), re.M) for task in tasks)
    return [int(match[1]) for match in found if match is not None and match[1].isdecimal()]


def test_it_is_bound_while_it_is_quiet_and_free_under_load(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    assert not _bound(ours)

    def is_bound() -> bool:
        # Beside other work it goes elsewhere for ten seconds.
        a.ping(theirs.inner4, 60, 0.01)
        return len(_bound(ours)) == 1

    wait_until(is_bound, 30, "the thread stays where datagrams arrive")
    iperf3(a, b, theirs.inner4, seconds=1)
    assert not _bound(ours)
    wait_until(is_bound, 30, "the thread stays there again")

"""Where the native pump's receiving thread runs: with little to do on the CPU that the datagrams arrive at."""

import os
import re
import time
from pathlib import Path

import pytest

from .lab import Lab, wait_until
from .nodes import Wgbpf
from .traffic import PingFlow, iperf3

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is only one CPU")


def _bound(node: Wgbpf) -> list[int]:
    """The CPUs of threads that may run on one alone."""
    assert node.process is not None
    tasks = Path(f"/proc/{node.process.pid}/task").glob("*/status")
    found = (re.search(r"^Cpus_allowed_list:\s+(\S+)$", task.read_text(), re.M) for task in tasks)
    return [int(match[1]) for match in found if match is not None and match[1].isdecimal()]


def _pair(lab: Lab) -> tuple[Wgbpf, Wgbpf]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    left, right = Wgbpf(lab, a, 1), Wgbpf(lab, b, 2)
    for node, other in ((left, right), (right, left)):
        node.add_peer(other, 4)
        node.options = ("--queues", "1")
        node.start()
    return left, right


def test_it_is_bound_while_it_is_quiet_and_free_under_load(lab: Lab) -> None:
    left, right = _pair(lab)
    assert not _bound(left)
    flow = PingFlow(left.host, right.inner4, 0.01)
    # Where it has to wait behind other work it goes elsewhere, for seconds at most.
    wait_until(lambda: len(_bound(left)) == 1, 30, "the thread stays where datagrams arrive")
    flow.stop()
    iperf3(left.host, right.host, right.inner4, seconds=1)
    assert not _bound(left)
    flow = PingFlow(left.host, right.inner4, 0.01)
    wait_until(lambda: len(_bound(left)) == 1, 30, "the thread stays there again")
    flow.stop()


def test_what_the_operator_chose_is_kept(lab: Lab) -> None:
    """All threads are told to use one CPU, then both, while one of them is bound."""
    left, right = _pair(lab)
    cpus = sorted(os.sched_getaffinity(0))
    assert left.process is not None
    threads = [int(task.name) for task in Path(f"/proc/{left.process.pid}/task").iterdir()]
    for chosen in ({cpus[-1]}, set(cpus[:2])):
        flow = PingFlow(left.host, right.inner4, 0.01)
        for thread in threads:
            os.sched_setaffinity(thread, chosen)
        time.sleep(1)
        assert all(os.sched_getaffinity(thread) <= chosen for thread in threads)
        flow.stop()
        iperf3(left.host, right.host, right.inner4, seconds=1)
        assert all(os.sched_getaffinity(thread) == chosen for thread in threads)

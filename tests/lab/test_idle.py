"""An idle controller sleeps."""

import time
from pathlib import Path

import pytest

from .lab import Lab
from .nodes import Wgbpf, WireguardGo

pytestmark = pytest.mark.every_datapath


def _wakeups(pid: int) -> int:
    """Voluntary context switches of all threads: each is one sleep that ended."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in path.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


@pytest.mark.waits
def test_with_established_peers_it_wakes_less_than_once_in_ten_seconds(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    assert a.ping(theirs.inner4).received == 3
    # Until the last keepalive and the multicast of fresh interfaces are through.
    for host, node in ((a, ours), (b, theirs)):
        host.run(f"sysctl -qw net.ipv6.conf.{node.interface}.disable_ipv6=1")
        host.run("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1")
    time.sleep(18)
    assert ours.process is not None
    before = _wakeups(ours.process.pid)
    time.sleep(30)
    assert _wakeups(ours.process.pid) - before < 3

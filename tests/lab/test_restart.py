"""Recovery after either side restarts, without help from outside, within 20 s."""

import signal
import time

import pytest

from .lab import Lab
from .nodes import Node, Wgbpf, WireguardGo

pytestmark = pytest.mark.every_datapath

_LIMIT = 20


@pytest.mark.waits
@pytest.mark.parametrize("who", ["ours", "theirs"])
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_traffic_comes_back(lab: Lab, who: str, how: str) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    assert a.ping(theirs.inner4).received == 3
    victim: Node = ours if who == "ours" else theirs
    survivor: Node = theirs if who == "ours" else ours
    assert victim.process is not None
    if how == "kill":
        victim.kill()
    else:
        victim.process.stop(signal.SIGTERM)
    victim.start()
    began = time.monotonic()
    # Only the side that still believes in the old session sends: that is the slow case.
    while survivor.host.ping(victim.inner4, count=1, wait=0.5).received == 0:
        assert time.monotonic() - began < _LIMIT
        time.sleep(0.2)
    assert time.monotonic() - began < _LIMIT
    assert victim.host.ping(survivor.inner4).received == 3


def test_the_end_of_the_program_leaves_nothing(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)

    def network() -> list[str]:
        # An address is tentative until the neighbours were asked.
        return [
            a.run(f"ip {what}").replace("tentative ", "")
            for what in ("-o link", "-o addr", "route", "-6 route")
        ]

    before = network()
    ours = Wgbpf(lab, a, 1)
    ours.start()
    assert ours.process is not None
    ours.process.send_signal(signal.SIGTERM)
    assert ours.process.wait(10) == 0, ours.process.output
    assert network() == before


@pytest.mark.parametrize("how", ["link", "socket"])
def test_removing_the_interface_or_its_socket_ends_the_program(lab: Lab, how: str) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours = Wgbpf(lab, a, 1)
    ours.start()
    assert ours.process is not None
    if how == "link":
        a.run(f"ip link del {ours.interface}")
    else:
        a.run(f"rm /var/run/wireguard/{ours.interface}.sock")
    assert ours.process.wait(10) == 0, ours.process.output
    assert ours.interface not in a.run("ip link")

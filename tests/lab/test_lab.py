"""The lab itself: it works, and it leaves nothing behind."""

import subprocess
from pathlib import Path

import pytest

from .lab import Host, Lab, sweep
from .nodes import WireguardGo


def _namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


def test_two_wireguard_go_peers_ping_each_other(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    left, right = WireguardGo(lab, a, 1), WireguardGo(lab, b, 2)
    left.add_peer(right, family=4)
    right.add_peer(left)
    left.start()
    right.start()
    assert a.ping(right.inner4).received == 3
    assert a.ping(right.inner6).received == 3


def test_a_failing_body_leaves_no_namespace_and_no_process() -> None:
    hosts: list[Host] = []
    pids: list[int] = []

    def fail() -> None:
        with Lab() as lab:
            hosts.append(lab.host("a"))
            pids.append(hosts[0].start("sleep 60").pid)
            raise RuntimeError("the test failed")

    with pytest.raises(RuntimeError):
        fail()
    assert hosts[0].namespace not in _namespaces()
    assert not Path(f"/proc/{pids[0]}").exists()


def test_the_sweeper_removes_the_lab_of_a_dead_process() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    name = f"wgl{dead.pid}-0a"
    subprocess.run(["ip", "netns", "add", name], check=True)
    sweep()
    assert name not in _namespaces()

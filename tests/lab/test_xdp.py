"""What only the xdp data path has: NIC and generic mode, life without a controller, slow paths, steering."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wgbpf.datapath.bpffs import ROOT
from wgbpf.datapath.xdpprograms import OBJECTS

from .lab import Host, Lab, wait_until
from .nodes import Node, Wgbpf, WireguardGo, cli
from .traffic import PingFlow, iperf3, udp_flow


def _ours(lab: Lab, host: Host, number: int, *options: str) -> Wgbpf:
    node = Wgbpf(lab, host, number)
    node.datapath = "xdp"
    node.options = options
    return node


def _pair(lab: Lab, *options: str, gro: bool = True) -> tuple[Wgbpf, WireguardGo]:
    """A running tunnel."""
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b, gro=gro)
    ours, theirs = _ours(lab, a, 1, *options), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    return ours, theirs


def _clean(ours: Wgbpf) -> dict[str, int]:
    """Drops that traffic of ours could explain."""
    drops = ours.drops()
    drops.pop("no_route", None)  # multicast of the interface coming up
    return drops


@pytest.mark.parametrize(
    ("options", "gro", "mode", "sending"),
    [
        ((), True, "native", "native"),
        ((), False, "native", "generic (a NIC takes no redirected frames)"),
        (("--mode", "generic"), True, "generic", "generic"),
    ],
)
def test_modes_carry_ping_and_tcp(
    lab: Lab, options: tuple[str, ...], gro: bool, mode: str, sending: str
) -> None:
    ours, theirs = _pair(lab, *options, gro=gro)
    info = ours.status()["info"]
    assert (info["mode"], info["sending"]) == (mode, sending)
    for address in (theirs.inner4, theirs.inner6):
        pings = ours.host.ping(address, count=20, interval=0.01)
        assert pings.received == 20
        for way in ((), ("-R",)):
            assert iperf3(ours.host, theirs.host, address, *way)["sum_received"]["bytes"] > 1_000_000
    assert _clean(ours) == {}


@pytest.mark.parametrize("options", [(), ("--mode", "generic")])
def test_roaming(lab: Lab, options: tuple[str, ...]) -> None:
    ours, theirs = _pair(lab, *options)
    assert ours.host.ping(theirs.inner4).received == 3
    theirs.host.run("ip addr del 192.0.2.2/24 dev eth0")
    theirs.host.run("ip addr add 192.0.2.77/24 dev eth0")
    wait_until(lambda: theirs.host.ping(ours.inner4, count=1).received, 20, "the peer comes through again")
    assert ours.host.ping(theirs.inner4).received == 3
    peer = next(iter(ours.status()["peers"].values()))
    assert peer["endpoint"].startswith("192.0.2.77:")


def test_the_first_ping_waits_for_the_handshake(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    pings = ours.host.ping(theirs.inner4, count=1)
    assert pings.received == 1
    assert "1 staged" in ours.status()["info"]["slow_path"]


def _no_loss(ours: Wgbpf, source: Node, target: Node, size: int) -> bool:
    """A machine that others use may stall for longer than a queue lasts; not three times in a row."""
    for _ in range(3):
        before = _clean(ours)
        lost = udp_flow(source.host, target.host, target.inner4, size, 3000, 2).lost
        if not lost and _clean(ours) == before:
            return True
    return False


@pytest.mark.parametrize("size", [64, 512, 1300, 1392])
def test_no_packet_is_lost_at_a_moderate_rate(lab: Lab, size: int) -> None:
    ours, theirs = _pair(lab)
    assert _no_loss(ours, ours, theirs, size)
    assert _no_loss(ours, theirs, ours, size)
    # A few go by the stack until the neighbour is known; the rest never leave the programs.
    assert int(ours.status()["info"]["slow_path"].split()[0]) < 100


def test_a_missing_neighbour_loses_nothing(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    assert ours.host.ping(theirs.inner4).received == 3
    flow = PingFlow(ours.host, theirs.inner4, 0.01)
    for _ in range(5):
        time.sleep(0.2)
        ours.host.run("ip neigh flush dev eth0")
    assert flow.stop().lost == 0


def test_fragments_and_other_interfaces_reach_the_programs_by_the_socket(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    assert ours.host.ping(theirs.inner4).received == 3
    # The peer's path is narrow: its outer packets come in pieces, which XDP passes up.
    theirs.host.run("ip route replace 192.0.2.1/32 dev eth0 mtu 1000")
    assert theirs.host.ping(ours.inner4, size=1300, count=20, interval=0.01).received == 20
    assert _clean(ours) == {}


def test_an_outer_packet_that_is_too_big_for_its_route_is_sent_in_pieces(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    assert ours.host.ping(theirs.inner4).received == 3
    ours.host.run("ip route replace 192.0.2.2/32 dev eth0 mtu 1000")
    assert ours.host.ping(theirs.inner4, size=1300, count=20, interval=0.01).received == 20
    assert _clean(ours) == {}


def test_a_packet_larger_than_the_tunnel_is_answered_by_the_stack(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    done = ours.host.try_run(f"ping -n -M do -c 1 -s 1500 {theirs.inner4}")
    assert re.search(r"message too long|Frag needed", done.stdout + done.stderr)


def test_a_killed_controller_costs_no_packet_and_the_next_one_takes_over(lab: Lab) -> None:
    ours, theirs = _pair(lab)
    assert ours.host.ping(theirs.inner4).received == 3
    there, back = (PingFlow(ours.host, theirs.inner4, 0.002), PingFlow(theirs.host, ours.inner4, 0.002))
    time.sleep(0.5)
    ours.kill()
    time.sleep(2)
    # What a configuration file has; the lab configures over the socket otherwise.
    ours._interface_section = ours.config  # type: ignore[method-assign]
    ours.run_program()
    time.sleep(1)
    assert there.stop().lost == 0
    assert back.stop().lost == 0
    wait_until(lambda: ours.latest_handshake(theirs) > 0, 5, "a handshake of the new controller")
    (peer,) = ours.status()["peers"].values()
    assert peer["transferRx"] > 1000 * 100, "totals go on"


@pytest.fixture
def leftovers(lab: Lab) -> Iterator[Host]:
    """A host; after the test nothing must be left of what it did there."""
    host = lab.host("a")
    lab.link(host, lab.host("b"))
    before, objects = _snapshot(host), _bpf_objects()
    yield host
    wait_until(lambda: _snapshot(host) == before, 3, f"{_snapshot(host)} is {before}")
    wait_until(lambda: _bpf_objects() <= objects, 3, f"{_bpf_objects() - objects} are freed")


def _bpf_objects() -> set[tuple[str, int, str]]:
    """Programs of ours and all maps that the kernel has: also what only holds itself, in a circle."""
    found = set()
    for kind in ("prog", "map"):
        for entry in json.loads(subprocess.check_output(["bpftool", "-j", kind, "list"])):
            name = entry.get("name", "")
            if kind == "map" or name.startswith("wg_"):
                found.add((kind, entry["id"], name))
    return found


def _snapshot(host: Host) -> tuple[object, ...]:
    """What else a start changes."""
    return (
        # With the XDP programs and the addresses of links.
        host.run("ip -o -d link"),
        host.run("tc qdisc show"),
        host.run("ethtool -k eth0"),
        host.run("bpftool -j net show dev eth0"),
        list(ROOT.glob(f"wl{os.getpid()}x*")) if ROOT.exists() else [],
    )


def test_detach_leaves_nothing(lab: Lab, leftovers: Host) -> None:
    ours = _ours(lab, leftovers, 1)
    ours.start()
    done = cli(leftovers, "detach", "-i", ours.interface)
    assert done.returncode == 0, done.stderr


def test_deleting_the_interface_leaves_nothing(lab: Lab, leftovers: Host) -> None:
    ours = _ours(lab, leftovers, 1)
    ours.start()
    assert ours.process is not None
    leftovers.run(f"ip link del {ours.interface}")
    assert ours.process.wait(10) == 0


def test_detach_after_a_crash_leaves_nothing(lab: Lab, leftovers: Host) -> None:
    ours = _ours(lab, leftovers, 1)
    ours.start()
    ours.kill()
    done = cli(leftovers, "detach", "-i", ours.interface)
    assert done.returncode == 0, done.stderr


def test_a_refused_attach_leaves_nothing(lab: Lab, leftovers: Host) -> None:
    ours = _ours(lab, leftovers, 1)
    ours.start()
    other = _ours(lab, leftovers, 2)
    done = cli(leftovers, "attach", "eth0", "-i", other.interface, "--datapath", "xdp", "--metrics", "off")
    assert done.returncode == 1
    assert re.fullmatch(
        r"wgbpf: eth0 carries the XDP program wg_ingress \(id \d+\): --replace takes it off\n", done.stderr
    )
    done = cli(leftovers, "attach", "eth0", "-i", other.interface, "--datapath", "xdp", "--replace")
    assert done.returncode == 1
    assert "held by a bpf_link" in done.stderr
    ours.kill()
    cli(leftovers, "detach", "-i", ours.interface)


def test_a_second_interface_on_the_nic_is_carried_by_tun(lab: Lab) -> None:
    host = lab.host("a")
    lab.link(host, lab.host("b"))
    first, second = _ours(lab, host, 1), _ours(lab, host, 2)
    first.start()
    done = cli(host, "attach", "eth0", "-i", second.interface, "--metrics", "off")
    assert done.returncode == 0, done.stderr
    assert "not xdp: eth0 carries the XDP program wg_ingress" in done.stderr
    assert second.status()["dataPath"] == "tun"
    assert cli(host, "detach", "-i", second.interface).returncode == 0


def test_another_program_is_taken_off_when_asked(lab: Lab, leftovers: Host) -> None:
    pin = f"/sys/fs/bpf/{leftovers.namespace}"
    leftovers.run(f"bpftool prog load {OBJECTS}/egress.o {pin} type xdp")
    lab.on_close(lambda: Path(pin).unlink(missing_ok=True))
    leftovers.run(f"bpftool net attach xdpdrv pinned {pin} dev eth0")
    ours = _ours(lab, leftovers, 1)
    arguments = ["attach", "eth0", "-i", ours.interface, "--datapath", "xdp", "--metrics", "off"]
    done = cli(leftovers, *arguments)
    assert done.returncode == 1
    assert "the XDP program wg_egress (id" in done.stderr
    done = cli(leftovers, *arguments, "--replace")
    assert done.returncode == 0, done.stderr
    assert "wg_ingress" in leftovers.run("ip -d link show eth0")
    assert cli(leftovers, "detach", "-i", ours.interface).returncode == 0
    Path(pin).unlink()


def test_two_nics_and_the_route_picks_one(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    lab.link(a, b)
    ours, theirs = _ours(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 4)
    theirs.add_peer(ours, 4)
    ours.start()
    theirs.start()
    assert a.ping(theirs.inner4).received == 3
    assert cli(a, "attach", "eth1", "-i", ours.interface).returncode == 0
    b.run(f"wg set {theirs.interface} peer {ours.public_key} endpoint 192.0.3.1:{ours.port}")
    wait_until(lambda: b.ping(ours.inner4, count=1).received, 5, "the peer comes by the second link")
    assert a.ping(theirs.inner4, count=20, interval=0.01).received == 20
    assert cli(a, "detach", "eth1", "-i", ours.interface).returncode == 0
    assert a.ping(theirs.inner4, count=20, interval=0.01).received == 20
    assert _clean(ours) == {}

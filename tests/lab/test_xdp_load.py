"""The xdp data path under load: nothing is lost below saturation, first packets of many peers, steering, a dead controller."""

import json
import re
import threading
import time
from ipaddress import IPv4Address

import pytest

from .lab import Lab, wait_until
from .nodes import Wgbpf, WireguardGo, cli
from .test_xdp import _ours
from .traffic import PingFlow, iperf3

_PEERS = 50


def _both_ends(lab: Lab) -> tuple[Wgbpf, Wgbpf]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    left, right = _ours(lab, a, 1), _ours(lab, b, 2)
    left.add_peer(right, 4)
    right.add_peer(left, 4)
    left.start()
    right.start()
    assert a.ping(right.inner4).received == 3
    return left, right


def _udp(source: Wgbpf, target: Wgbpf, size: int, rate: str, seconds: int) -> float:
    """Datagrams a second that the receiver got."""
    options = ("-u", "-l", str(size), "-b", rate)
    end = iperf3(source.host, target.host, target.inner4, *options, seconds=seconds)["sum"]
    return float((end["packets"] - end["lost_packets"]) / end["seconds"])


def _link(node: Wgbpf, name: str) -> dict[str, dict[str, int]]:
    stats: dict[str, dict[str, int]] = json.loads(node.host.run(f"ip -j -s link show {name}"))[0]["stats64"]
    return stats


class _Balance:
    """Packets that went into one wg0 and did not come out of the other, and reasons that were counted, since."""

    def __init__(self, source: Wgbpf, target: Wgbpf) -> None:
        self._ends = source, target
        self._before = self._now()

    def _now(self) -> tuple[int, int]:
        source, target = self._ends
        time.sleep(0.5)  # until nothing is on its way
        sent, received = _link(source, source.interface)["tx"], _link(target, target.interface)["rx"]
        reasons = sum(source.drops().values()) + sum(target.drops().values())
        # The cable's ring, too, may be full; the far end counts the same packets among its own.
        reasons += _link(source, "eth0")["tx"]["dropped"]
        return sent["packets"] - received["packets"], reasons

    def lost_and_counted(self) -> tuple[int, int]:
        lost, counted = self._now()
        return lost - self._before[0], counted - self._before[1]


@pytest.mark.parametrize("size", [64, 512, 1300, 1392])
def test_no_packet_is_lost_at_half_of_the_maximum(lab: Lab, size: int, load_seconds: int) -> None:
    """1392 bytes are the largest datagram that fits the tunnel's MTU of 1420."""
    left, right = _both_ends(lab)
    rate = _udp(left, right, size, "0", 2) / 2 * size * 8
    for source, target in ((left, right), (right, left)):
        # A machine that others use may stall for longer than a queue lasts; not three times in a row.
        for _ in range(3):
            balance = _Balance(source, target)
            assert _udp(source, target, size, f"{rate:.0f}", load_seconds) > 1000
            lost, counted = balance.lost_and_counted()
            assert lost == counted, (source.drops(), target.drops())
            if not lost:
                break
        assert not lost, (source.drops(), target.drops())


def test_what_is_lost_under_overload_is_counted(lab: Lab) -> None:
    left, right = _both_ends(lab)
    balance = _Balance(left, right)
    _udp(left, right, 1300, "0", 3)
    lost, counted = balance.lost_and_counted()
    assert lost == counted, (left.drops(), right.drops())


def test_first_pings_to_fifty_peers_at_once_are_answered(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours = _ours(lab, a, 1)
    theirs = []
    for n in range(_PEERS):
        peer = WireguardGo(lab, b, 2 + n, port=52_000 + n)
        ours.add_peer(peer, 4)
        peer.add_peer(ours, 4)
        theirs.append(peer)
    ours.start()
    for n, peer in enumerate(theirs):
        peer.run_program()
        peer.apply()
        b.run(f"ip addr add {peer.inner4}/32 dev {peer.interface}")
        b.run(f"ip link set {peer.interface} up")
        # Each answers by its own tunnel.
        b.run(f"ip route add {ours.inner4} dev {peer.interface} table {1000 + n}")
        b.run(f"ip rule add from {peer.inner4} table {1000 + n}")
    # It opens its socket some time after its interface is up.
    wait_until(lambda: b.run("ss -Huln sport ge 52000").count("0.0.0.0:52") == _PEERS, 10, "all peers listen")
    flows = [PingFlow(a, str(IPv4Address("10.77.0.2") + n), 0.5) for n in range(_PEERS)]
    time.sleep(3)
    lost = {n: found.lost for n, flow in enumerate(flows) if (found := flow.stop()).lost}
    assert not lost, (ours.drops(), ours.process and ours.process.output, [theirs[n].process for n in lost])
    assert f"{_PEERS} staged" in ours.status()["info"]["slow_path"]


def test_a_saturated_session_is_opened_on_another_cpu_and_a_quiet_one_where_it_arrives(lab: Lab) -> None:
    left, right = _both_ends(lab)
    assert left.host.ping(right.inner4, count=1000, interval=0.001).received == 1000
    assert right.status()["info"]["steered"].startswith("0 ")
    load = threading.Thread(target=_udp, args=(left, right, 512, "0", 5))
    load.start()
    wait_until(lambda: left.status()["info"]["sending"] == "native, in threads", 10, "threads take the load")
    load.join()
    steered = int(right.status()["info"]["steered"].split()[0])
    assert steered > 10_000
    wait_until(
        lambda: left.host.ping(right.inner4).received and left.status()["info"]["sending"] == "native",
        10,
        "the threads are gone when the load is",
    )


def test_a_controller_killed_under_load_costs_no_packet(lab: Lab) -> None:
    left, right = _both_ends(lab)
    server = right.host.start(["iperf3", "-s", "-1", "-B", right.inner4, "--forceflush"])
    wait_until(lambda: "listening" in server.output, 5, "iperf3 listens")
    command = f"iperf3 -c {right.inner4} -u -l 1300 -b 100M -w 4M -t 4"
    flow = left.host.start(command)
    time.sleep(1.5)
    left.kill()
    right.kill()
    assert flow.wait(20) == 0
    lost = re.search(r"(\d+)/(\d+) \([^)]*\)\s+receiver", flow.output)
    assert lost is not None, flow.output
    assert int(lost[1]) == 0 and int(lost[2]) > 20_000


@pytest.mark.waits
def test_without_a_controller_keys_die_after_180_seconds(lab: Lab) -> None:
    left, right = _both_ends(lab)
    made = time.monotonic()
    left.kill()
    right.kill()
    flow = PingFlow(left.host, right.inner4, 0.05)
    time.sleep(made + 176 - time.monotonic())
    assert flow.stop().lost == 0
    time.sleep(made + 181 - time.monotonic())
    assert left.host.ping(right.inner4).received == 0


def test_a_crash_of_attach_half_way_is_cleaned_by_detach(lab: Lab) -> None:
    host = lab.host("a")
    lab.link(host, lab.host("b"))
    before = host.run("ip -o -d link"), host.run("tc qdisc show"), host.run("ethtool -k eth0")
    for delay in (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.9, 1.1):
        ours = _ours(lab, host, 1)
        arguments = ["attach", "eth0", "-i", ours.interface, "--datapath", "xdp", "--metrics", "off"]
        process = host.start(["python3", "-m", "wgbpf.cli", *arguments, "--foreground"])
        time.sleep(delay)
        process.send_signal(9)
        process.wait(5)
        cli(host, "detach", "-i", ours.interface)
        after = host.run("ip -o -d link"), host.run("tc qdisc show"), host.run("ethtool -k eth0")
        assert after == before, delay

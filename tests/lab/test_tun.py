"""The native pump of the tun data path on real devices: queues, and what it does without."""

import sys
import time
from pathlib import Path

import pytest

from .capture import Capture, Seen
from .lab import Host, Lab, LabError, wait_until
from .nodes import Wgbpf, WireguardGo
from .traffic import PingFlow, iperf3, udp_flow

_PEERS = 4


def _link(lab: Lab, options: tuple[str, ...] = (), **environment: str) -> tuple[Wgbpf, Wgbpf]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    left, right = Wgbpf(lab, a, 1), Wgbpf(lab, b, 2)
    left.add_peer(right, 4)
    right.add_peer(left, 4)
    for node in (left, right):
        node.options, node.environment = options, environment
        node.start()
    assert a.ping(right.inner4).received == 3
    return left, right


def _peers_of_one_host(lab: Lab, ours: Wgbpf, b: Host) -> list[WireguardGo]:
    """Each with a tunnel of its own: what leaves from its inner address goes through that."""
    peers = [WireguardGo(lab, b, 2 + n, port=52_000 + n) for n in range(_PEERS)]
    for peer in peers:
        ours.add_peer(peer, 4)
        peer.add_peer(ours, 4)
    ours.start()
    for n, peer in enumerate(peers):
        peer.run_program()
        peer.apply()
        b.run(f"ip addr add {peer.inner4}/32 dev {peer.interface}")
        b.run(f"ip link set {peer.interface} up")
        b.run(f"ip route add {ours.inner4} dev {peer.interface} table {1000 + n}")
        b.run(f"ip rule add from {peer.inner4} table {1000 + n}")
    return peers


_NUMBERED = """
import socket, sys, time
sources, target, port, total, rate = sys.argv[1].split(","), sys.argv[2].split(","), *map(int, sys.argv[3:6])
flows = []
for source in sources:
    for address in target:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((source, 0)); s.connect((address, port))
        flows.append(s)
began = time.monotonic()
for n in range(total):
    while (wait := began + n / rate - time.monotonic()) > 0:
        time.sleep(wait)
    for s in flows:
        s.send(n.to_bytes(8, "big") + bytes(200))
"""
_IN_ORDER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.bind(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
s.settimeout(10)
last, late, got = {}, 0, 0
try:
    while True:
        data, ancillary, flags, source = s.recvmsg(2048)
        number = int.from_bytes(data[:8], "big")
        late += number != last.get(source, -1) + 1
        last[source] = number
        got += 1
        s.settimeout(1.5)
except TimeoutError:
    print("got", got, "out of order", late, flush=True)
"""


def _all_in_order(source: Host, sources: list[str], target: Host, targets: list[str], port: int) -> str:
    """What a receiver says of numbered flows from each source to each target; and what it should say."""
    receiver = target.start([sys.executable, "-c", _IN_ORDER, str(port)])
    wait_until(lambda: "ready" in receiver.output, 5, "the receiver listens")
    arguments = [",".join(sources), ",".join(targets), str(port), "1500", "700"]
    source.run([sys.executable, "-c", _NUMBERED, *arguments])
    receiver.wait(20)
    return receiver.output.splitlines()[-1]


def test_sessions_on_two_queues_keep_their_order_and_lose_nothing(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours = Wgbpf(lab, a, 1)
    ours.options = ("--queues", "2")
    peers = _peers_of_one_host(lab, ours, b)
    assert "2 queues" in ours.status()["info"]["pump"]
    assert "numqueues 2" in a.run(f"ip -d link show {ours.interface}")
    for peer in peers:
        assert a.ping(peer.inner4).received == 3
    inner = [peer.inner4 for peer in peers]
    said = _all_in_order(b, inner, a, [ours.inner4], 7002)
    assert said == f"got {1500 * _PEERS} out of order 0", ours.drops()
    # The other way all flows end at one receiver, but each is a socket of its own there.
    said = _all_in_order(a, [ours.inner4], b, inner, 7003)
    assert said == f"got {1500 * _PEERS} out of order 0", ours.drops()


def test_a_rekey_and_a_new_port_on_two_queues(lab: Lab) -> None:
    left, right = _link(lab, ("--queues", "2"))
    flow = PingFlow(left.host, right.inner4, 0.01)
    for n in range(4):
        # Another port is another set of sockets, and another endpoint for the peer.
        left.wg("set", left.interface, "listen-port", str(53_000 + n))
        left.port = 53_000 + n
        time.sleep(0.3)
    assert flow.stop().lost <= 4 * 3
    assert iperf3(left.host, right.host, right.inner4, "-P", "4")["sum_received"]["bytes"] > 10_000_000
    used = left.host.try_run(["ss", "-Hulnp", "sport", "=", str(left.port)]).stdout
    assert len(used.splitlines()) == 4  # two for each family


def test_a_port_of_another_program_is_not_shared(lab: Lab) -> None:
    a = lab.host("a")
    lab.link(a, lab.host("b"))
    listen = "import socket; s=socket.socket(2,2); s.setsockopt(1,15,1); s.bind(('',53000)); input()"
    other = a.start(["sh", "-c", f'sleep 60 | {sys.executable} -c "{listen}"'])
    wait_until(lambda: "53000" in a.run("ss -Huln"), 5, "another program has the port")
    ours = Wgbpf(lab, a, 1, port=53_000)
    ours.options = ("--queues", "2")
    with pytest.raises(LabError, match="in use"):
        ours.start()
    other.stop()


@pytest.mark.parametrize(
    ("name", "where", "said"),
    [
        ("simd", "crypto", "OpenSSL"),
        ("tso", "missing", "TSO: a system call for each TCP packet sent"),
        ("uso", "missing", "USO: a system call for each UDP packet"),
        ("gso", "missing", "UDP GSO: a system call for each packet sent"),
        ("gro", "missing", "UDP GRO: a system call for each packet received"),
        ("pump", "pump", "python"),
        ("simd,tso,uso,gso,gro", "offloads", "none"),
    ],
)
def test_without_it_works_and_status_says_so(lab: Lab, name: str, where: str, said: str) -> None:
    left, right = _link(lab, WGBPF_WITHOUT=name)
    assert said in left.status()["info"][where]
    for address in (right.inner4, right.inner6):
        for options in ((), ("-R",)):
            assert iperf3(left.host, right.host, address, *options)["sum_received"]["bytes"] > 1_000_000
        assert udp_flow(left.host, right.host, address, 1000, 500, 1).lost == 0
    assert left.drops().keys() | right.drops().keys() <= {"no_route"}


def test_with_everything_nothing_is_missing(lab: Lab) -> None:
    left, _ = _link(lab)
    info = left.status()["info"]
    assert info["missing"] == ""
    assert info["offloads"] == "TSO, USO, UDP GSO, UDP GRO"
    assert info["crypto"].split()[0] in ("AVX-512", "AVX2", "OpenSSL")


def test_a_word_that_means_nothing_is_refused(lab: Lab) -> None:
    a = lab.host("a")
    lab.link(a, lab.host("b"))
    ours = Wgbpf(lab, a, 1)
    ours.environment = {"WGBPF_WITHOUT": "gso,magic"}
    with pytest.raises(LabError, match="WGBPF_WITHOUT: magic: expected some of"):
        ours.start()


def _captured(left: Wgbpf, right: Wgbpf, directory: Path) -> tuple[Seen, Seen]:
    """What was seen on both interfaces of some traffic of every kind."""
    for _ in range(5):
        captures = [Capture(n.host, n.interface, directory / str(n.number)) for n in (left, right)]
        for address in (right.inner4, right.inner6):
            for options in (("-b", "40M"), ("-b", "10M", "-R", "-l", "777"), ("-b", "10M", "-M", "536")):
                iperf3(left.host, right.host, address, *options)
            iperf3(left.host, right.host, address, "-u", "-b", "10M", "-l", "1111")
            iperf3(left.host, right.host, address, "-u", "-b", "300K", "-l", "17")
        time.sleep(0.5)
        here, there = (capture.stop() for capture in captures)
        if here is not None and there is not None:
            return here, there
    pytest.fail("tcpdump lost packets every time")


def test_what_one_interface_sends_the_other_delivers_byte_for_byte(lab: Lab, tmp_path: Path) -> None:
    """Super-packets of the stack on both sides, with timestamps and ECN; what tcpdump saw, put together again."""
    left, right = _link(lab)
    for node in (left, right):
        node.host.run("sysctl -q net.ipv4.tcp_ecn=1")
    here, there = _captured(left, right, tmp_path)
    assert here.streams.keys() == there.streams.keys()
    assert sum(len(stream.bytes()) for stream in here.streams.values()) > 10_000_000
    for flow, stream in here.streams.items():
        other = there.streams[flow]
        assert stream.bytes() == other.bytes()
        assert (stream.flags, stream.options) == (other.flags, other.options)
    assert here.datagrams == there.datagrams
    assert sum(map(len, here.datagrams.values())) > 2_000_000

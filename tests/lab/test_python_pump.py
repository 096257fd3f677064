"""The pure Python pump, which machines without a compiler run."""

from .lab import Lab
from .nodes import Wgbpf, WireguardGo
from .traffic import iperf3, udp_flow


class PurePython(Wgbpf):
    datapath = "tun-python"


def test_it_carries_everything_too_and_says_what_it_is(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = PurePython(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, 6)
    theirs.add_peer(ours)
    ours.start()
    theirs.start()
    for address in (theirs.inner4, theirs.inner6):
        assert a.ping(address).received == 3
        assert iperf3(a, b, address)["sum_received"]["bytes"] > 1_000_000
        assert iperf3(a, b, address, "-R")["sum_received"]["bytes"] > 1_000_000
    assert udp_flow(a, b, theirs.inner4, 300, 1000, 1).lost == 0
    assert "python" in ours.status()["info"]["pump"]


def test_it_and_the_native_pump_understand_each_other(lab: Lab) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    plain, native = PurePython(lab, a, 1), Wgbpf(lab, b, 2)
    plain.add_peer(native, 4)
    native.add_peer(plain, 4)
    plain.start()
    native.start()
    assert a.ping(native.inner4).received == 3
    for options in ((), ("-R",)):
        assert iperf3(a, b, native.inner4, *options)["sum_received"]["bytes"] > 1_000_000

"""Sessions that cross the 120 s rekey under steady traffic lose nothing. Slow, so all cases run at once."""

import time

import pytest

from .lab import Lab
from .nodes import Node, Wgbpf, WireguardGo, metric
from .traffic import PingFlow

pytestmark = pytest.mark.every_datapath

_SECONDS = 135
_INTERVAL = 0.02


@pytest.mark.waits
def test_rekeys_under_steady_traffic_lose_no_packet(lab: Lab) -> None:
    """We initiate over IPv4, they initiate over IPv6, and a keepalive-only tunnel; in one go."""
    flows: list[PingFlow] = []
    pairs: list[tuple[Wgbpf, WireguardGo]] = []
    for we_initiate, family in ((True, 4), (False, 6)):
        ours, theirs = _tunnel(lab, we_initiate, family)
        first = ours if we_initiate else theirs
        assert first.host.ping((theirs if we_initiate else ours).inner4).received == 3
        flows.append(PingFlow(ours.host, theirs.inner4, _INTERVAL))
        flows.append(PingFlow(theirs.host, ours.inner6, _INTERVAL))
        pairs.append((ours, theirs))
    quiet_ours, quiet_theirs = _keepalive_tunnel(lab)
    time.sleep(_SECONDS)
    results = [flow.stop() for flow in flows]
    assert [result.lost for result in results] == [0] * len(results)
    assert min(result.sent for result in results) > _SECONDS / _INTERVAL / 2
    for (ours, _), role in zip(pairs, ("initiator", "responder"), strict=True):
        text = ours.metrics()
        assert metric(text, "wgbpf_handshakes_total", role=role, result="completed") == 2
        drops = {reason: n for reason, n in ours.drops().items() if reason != "no_route"}
        assert drops == {}
    # Persistent keepalives alone keep that session alive: one every 5 s, and their rekey.
    assert quiet_ours.latest_handshake(quiet_theirs) > 0
    sent = int(quiet_ours.dump()[1][6])
    assert 20 * 32 <= sent <= 40 * 32 + 3 * 148


def _tunnel(lab: Lab, we_initiate: bool, family: int) -> tuple[Wgbpf, WireguardGo]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    ours.add_peer(theirs, family if we_initiate else None)
    theirs.add_peer(ours, None if we_initiate else family)
    start: list[Node] = [ours, theirs]
    for node in start:
        node.start()
    return ours, theirs


def _keepalive_tunnel(lab: Lab) -> tuple[Wgbpf, WireguardGo]:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    ours, theirs = Wgbpf(lab, a, 1), WireguardGo(lab, b, 2)
    theirs.add_peer(ours)
    theirs.start()
    ours.add_peer(theirs, 4, keepalive=5)
    ours.start()
    return ours, theirs

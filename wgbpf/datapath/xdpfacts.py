"""The counters of the XDP programs under the names that users see."""

from collections.abc import Callable, Mapping

from .abi import Count
from .guard import REASONS
from .interface import Counters, DataDrop, Direction

_RECEIVE_DROPS = {
    "bad_type": Count.RX_BAD_TYPE,
    "bad_length": Count.RX_BAD_LENGTH,
    "unknown_index": Count.RX_UNKNOWN_INDEX,
    "key_expired": Count.RX_KEY_EXPIRED,
    "bad_tag": Count.RX_BAD_TAG,
    "replay": Count.RX_REPLAY,
    "bad_inner_packet": Count.RX_BAD_INNER_PACKET,
    "forbidden_source": Count.RX_FORBIDDEN_SOURCE,
    "bad_ecn": Count.RX_BAD_ECN,
    "failed": Count.RX_FAILED,
    **REASONS,
}
_TRANSMIT_DROPS = {
    "bad_inner_packet": Count.TX_BAD_INNER_PACKET,
    "key_expired": Count.TX_KEY_EXPIRED,
    "no_route": Count.TX_NO_ROUTE,
    "no_endpoint": Count.TX_NO_ENDPOINT,
    "too_big": Count.TX_TOO_BIG,
    "staged_overflow": Count.TX_STAGED_OVERFLOW,
    "queue_full": Count.TX_QUEUE_FULL,
    "failed": Count.TX_FAILED,
}

OWN_DROPS = (
    (Direction.RECEIVE, DataDrop.INTERFACE_FULL),
    (Direction.RECEIVE, DataDrop.TOO_BIG),
    (Direction.TRANSMIT, DataDrop.SEND_FAILED),
)
"""What the programs do not see: the controller counts it."""


def counters(count: Callable[[Count], int], lost: Mapping[tuple[Direction, str], int]) -> Counters:
    drops = {(Direction.RECEIVE, name): count(which) for name, which in _RECEIVE_DROPS.items()}
    drops |= {(Direction.TRANSMIT, name): count(which) for name, which in _TRANSMIT_DROPS.items()}
    # What was sent to another CPU and did not arrive there met a full queue.
    arrived = count(Count.STEERED_ARRIVED)
    drops[Direction.RECEIVE, "cpu_queue_full"] = max(0, count(Count.STEERED) - arrived)
    received, sent = count(Count.RX_PACKETS), count(Count.TX_PACKETS)
    return Counters(
        {Direction.RECEIVE: received, Direction.TRANSMIT: sent},
        {Direction.RECEIVE: count(Count.RX_BYTES), Direction.TRANSMIT: count(Count.TX_BYTES)},
        drops | {(direction, str(reason)): n for (direction, reason), n in lost.items()},
    )


def ways(count: Callable[[Count], int]) -> dict[str, str]:
    """Which ways packets took, for `status`."""
    facts = {
        "steered": f"{count(Count.STEERED)} packets to another CPU",
        "slow_path": f"{count(Count.SLOW_SEND)} sent by the stack, {count(Count.STAGED)} staged",
    }
    lost = count(Count.EVENTS_LOST)
    return facts | ({"events_lost": str(lost)} if lost else {})

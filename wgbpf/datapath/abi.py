"""The mirror of bpf/wgbpf.h. A test asks the C compiler for every size, offset and number and compares."""

import ctypes
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64
from enum import IntEnum
from typing import Final

ABI: Final = 2
KEY_WORDS: Final = 8
WINDOW_WORDS: Final = 128
MAX_INNER: Final = 3506
STAGE_LIMIT: Final = 128
CONTROL_ETHERTYPE: Final = 0x88B5
MAX_CPUS: Final = 64
MAX_SOURCES: Final = 65_536
MAX_DUPLICATES: Final = 8192
DUPLICATE_NS: Final = 5_000_000_000
LOAD_STICKY_NS: Final = 1_000_000_000
LOAD_WINDOW_NS: Final = 100_000_000
GUARD_COPIES: Final = 8
SOURCE_REPLIES: Final = 0x100


class State(IntEnum):
    EMPTY = 0
    UNCONFIRMED = 1
    LIVE = 2
    RECEIVE_ONLY = 3


class EventKind(IntEnum):
    CONFIRMED = 1
    ROAMED = 2
    ACTIVE = 3
    STAGE = 4
    SEND = 5
    REFUSE = 6
    BUSY = 7


class Count(IntEnum):
    RX_PACKETS = 0
    RX_BYTES = 1
    RX_KEEPALIVES = 2
    TX_PACKETS = 3
    TX_BYTES = 4
    TX_KEEPALIVES = 5
    PASS_OTHER = 6
    PASS_FRAGMENT = 7
    PASS_HANDSHAKE = 8
    PASS_BIG = 9
    PASS_DATA = 10
    COOKIES_SENT = 11
    STEERED = 12
    STEERED_ARRIVED = 13
    SLOW_SEND = 14
    STAGED = 15
    EVENTS_LOST = 16
    RX_BAD_TYPE = 17
    RX_BAD_LENGTH = 18
    RX_BAD_SOURCE = 19
    RX_FRAGMENT = 20
    RX_UNKNOWN_INDEX = 21
    RX_BAD_MAC1 = 22
    RX_DUPLICATE = 23
    RX_COOKIE_REQUIRED = 24
    RX_RATE_LIMITED = 25
    RX_KEY_EXPIRED = 26
    RX_BAD_TAG = 27
    RX_REPLAY = 28
    RX_BAD_INNER_PACKET = 29
    RX_FORBIDDEN_SOURCE = 30
    RX_BAD_ECN = 31
    RX_FAILED = 32
    TX_BAD_INNER_PACKET = 33
    TX_KEY_EXPIRED = 34
    TX_NO_ROUTE = 35
    TX_NO_ENDPOINT = 36
    TX_TOO_BIG = 37
    TX_STAGED_OVERFLOW = 38
    TX_QUEUE_FULL = 39
    TX_FAILED = 40


class Session(ctypes.Structure):
    """Keys are the little-endian words of the key's bytes."""

    lock: int
    local_index: int
    remote_index: int
    peer: int
    state: int
    cpu: int
    created: int
    send_counter: int
    received: int
    _fields_ = [
        ("lock", c_uint32),
        ("local_index", c_uint32),
        ("remote_index", c_uint32),
        ("peer", c_uint32),
        ("state", c_uint32),
        ("cpu", c_uint16),
        ("settled", c_uint16),
        ("created", c_uint64),
        ("send_counter", c_uint64),
        ("received", c_uint64),
        ("send_key", c_uint8 * (4 * KEY_WORDS)),
        ("receive_key", c_uint8 * (4 * KEY_WORDS)),
        ("rate_since", c_uint64),
        ("rate_count", c_uint32),
        ("rate_here", c_uint32),
        ("window", c_uint64 * WINDOW_WORDS),
    ]


class Endpoint(ctypes.Structure):
    """Addresses as bytes in network order; `port` holds its two bytes in network order."""

    lock: int
    family: int
    ifindex: int
    vlan: int
    local_known: int
    _fields_ = [
        ("lock", c_uint32),
        ("family", c_uint16),
        ("port", c_uint8 * 2),
        ("remote", c_uint8 * 16),
        ("local", c_uint8 * 16),
        ("ifindex", c_uint32),
        ("vlan", c_uint16),
        ("local_known", c_uint16),
    ]


class Sending(ctypes.Structure):
    index: int
    valid: int
    staged: int
    unused: int
    staged_since: int
    _fields_ = [
        ("index", c_uint32),
        ("valid", c_uint32),
        ("staged", c_uint32),
        ("unused", c_uint32),
        ("staged_since", c_uint64),
    ]


class Traffic(ctypes.Structure):
    rx_packets: int
    rx_bytes: int
    last_received: int
    last_data_received: int
    unanswered_received: int
    tx_packets: int
    tx_bytes: int
    last_sent: int
    last_data_sent: int
    unanswered_sent: int
    send_counter: int
    _fields_ = [
        ("rx_packets", c_uint64),
        ("rx_bytes", c_uint64),
        ("last_received", c_uint64),
        ("last_data_received", c_uint64),
        ("unanswered_received", c_uint64),
        ("unused_rx", c_uint64 * 3),
        ("tx_packets", c_uint64),
        ("tx_bytes", c_uint64),
        ("last_sent", c_uint64),
        ("last_data_sent", c_uint64),
        ("unanswered_sent", c_uint64),
        ("send_counter", c_uint64),
        ("unused_tx", c_uint64 * 2),
    ]


class Control(ctypes.Structure):
    listen_port: int
    mtu: int
    fwmark: int
    active: int
    steer_above: int
    cpus: int
    refused_at: int
    sealing_since: int
    sealing_count: int
    busy: int
    guard: int
    loaded_until: int
    _fields_ = [
        ("listen_port", c_uint32),
        ("mtu", c_uint32),
        ("fwmark", c_uint32),
        ("active", c_uint32),
        ("steer_above", c_uint32),
        ("cpus", c_uint32),
        ("refused_at", c_uint64),
        ("sealing_since", c_uint64),
        ("sealing_count", c_uint32),
        ("busy", c_uint32),
        ("guard", c_uint32),
        ("unused", c_uint32),
        ("loaded_until", c_uint64),
    ]


class Budget(ctypes.Structure):
    cost_ns: int
    burst_ns: int
    _fields_ = [("cost_ns", c_uint64), ("burst_ns", c_uint64)]


class Guard(ctypes.Structure):
    """Hash states are those after the key block, as bytes."""

    secrets: int
    load_above: int
    unverified: Budget
    verified: Budget
    _fields_ = [
        ("mac1", c_uint8 * (4 * KEY_WORDS)),
        ("cookie_key", c_uint8 * (4 * KEY_WORDS)),
        ("secret", c_uint8 * (4 * KEY_WORDS) * 2),
        ("secrets", c_uint32),
        ("load_above", c_uint32),
        ("unverified", Budget),
        ("verified", Budget),
    ]


class GuardLoad(ctypes.Structure):
    since: int
    until: int
    count: int
    _fields_ = [("since", c_uint64), ("until", c_uint64), ("count", c_uint32), ("unused", c_uint32)]


class Source(ctypes.Structure):
    kind: int
    _fields_ = [("kind", c_uint32), ("prefix", c_uint8 * 8)]


class Event(ctypes.Structure):
    kind: int
    peer: int
    index: int
    length: int
    family: int
    ifindex: int
    vlan: int
    local_known: int
    ds: int
    _fields_ = [
        ("kind", c_uint32),
        ("peer", c_uint32),
        ("index", c_uint32),
        ("length", c_uint32),
        ("family", c_uint16),
        ("port", c_uint8 * 2),
        ("remote", c_uint8 * 16),
        ("local", c_uint8 * 16),
        ("ifindex", c_uint32),
        ("vlan", c_uint16),
        ("local_known", c_uint8),
        ("ds", c_uint8),
    ]


class Prefix(ctypes.Structure):
    _fields_ = [("bits", c_uint32), ("address", c_uint8 * 16)]


class Settings(ctypes.Structure):
    slot_mask: int
    far_ifindex: int
    _fields_ = [
        ("slot_mask", c_uint32),
        ("generic", c_uint32),
        ("far_ifindex", c_uint32),
        ("near_mac", c_uint8 * 6),
        ("far_mac", c_uint8 * 6),
    ]


STRUCTS: Final[dict[str, type[ctypes.Structure]]] = {
    "wg_session": Session,
    "wg_endpoint": Endpoint,
    "wg_sending": Sending,
    "wg_traffic": Traffic,
    "wg_control": Control,
    "wg_budget": Budget,
    "wg_guard": Guard,
    "wg_guard_load": GuardLoad,
    "wg_source": Source,
    "wg_event": Event,
    "wg_prefix": Prefix,
    "wg_settings": Settings,
}
ENUMS: Final[tuple[tuple[str, type[IntEnum]], ...]] = (
    ("WG_", State),
    ("WG_EVENT_", EventKind),
    ("WG_", Count),
)
"""Prefix of the C names, and the mirror."""

"""Why the protocol core refused something. The value is the metric label."""

from enum import StrEnum


class Drop(StrEnum):
    """One reason for each way in which a datagram or packet can end here."""

    # The datagram is no WireGuard message (section 5.4).
    BAD_TYPE = "bad_type"
    BAD_LENGTH = "bad_length"
    INTERFACE_DOWN = "interface_down"
    # Handshake messages.
    NO_PRIVATE_KEY = "no_private_key"
    BAD_MAC1 = "bad_mac1"
    DUPLICATE = "duplicate"
    RATE_LIMITED = "rate_limited"
    COOKIE_REQUIRED = "cookie_required"
    QUEUE_FULL = "queue_full"
    UNKNOWN_PEER = "unknown_peer"
    BAD_HANDSHAKE = "bad_handshake"
    STALE_TIMESTAMP = "stale_timestamp"
    INITIATION_FLOOD = "initiation_flood"
    UNKNOWN_INDEX = "unknown_index"
    BAD_COOKIE = "bad_cookie"
    # Data messages.
    KEY_EXPIRED = "key_expired"
    BAD_TAG = "bad_tag"
    REPLAY = "replay"
    BAD_INNER_PACKET = "bad_inner_packet"
    FORBIDDEN_SOURCE = "forbidden_source"
    BAD_ECN = "bad_ecn"
    # Packets to send.
    NO_ROUTE = "no_route"
    NO_ENDPOINT = "no_endpoint"
    STAGED_OVERFLOW = "staged_overflow"
    STAGED_TIMEOUT = "staged_timeout"


class Rejected(Exception):
    """The one exception that the core raises for bytes it refuses."""

    def __init__(self, reason: Drop) -> None:
        super().__init__(reason.value)
        self.reason = reason

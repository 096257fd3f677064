"""Every number of the protocol. Times are seconds, sizes are bytes."""

from typing import Final

# --- From the paper (sections 5.4 and 6) -----------------------------------------------------------

CONSTRUCTION: Final = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER: Final = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1: Final = b"mac1----"
LABEL_COOKIE: Final = b"cookie--"

REKEY_AFTER_MESSAGES: Final = 2**60
REJECT_AFTER_MESSAGES: Final = 2**64 - 2**13 - 1
REKEY_AFTER_TIME: Final = 120.0
REJECT_AFTER_TIME: Final = 180.0
REKEY_ATTEMPT_TIME: Final = 90.0
REKEY_TIMEOUT: Final = 5.0
KEEPALIVE_TIMEOUT: Final = 10.0
COOKIE_SECRET_MAX_AGE: Final = 120.0

KEY_SIZE: Final = 32
TAG_SIZE: Final = 16
MAC_SIZE: Final = 16
COOKIE_SIZE: Final = 16
XNONCE_SIZE: Final = 24
TIMESTAMP_SIZE: Final = 12
PADDING_MULTIPLE: Final = 16

# --- Of the implementations that peers run (Linux, wireguard-go), which peers rely on ----------------

COOKIE_SECRET_LATENCY: Final = 5.0
"""A cookie is used until it is this much younger than its secret may grow."""
INITIATION_SPACING: Final = 0.020
"""A responder consumes at most one initiation per peer in this time."""
TIMESTAMP_STEP_NS: Final = 2**24
"""TAI64N stamps are rounded down to this, so that they are no precise clock for an observer."""
MAX_TIMER_ATTEMPTS: Final = int(REKEY_ATTEMPT_TIME / REKEY_TIMEOUT)
TIMER_JITTER: Final = 1 / 3
NEW_HANDSHAKE_TIMEOUT: Final = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT
REKEY_ON_RECEIVE_AGE: Final = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
ZERO_KEYS_TIMEOUT: Final = 3 * REJECT_AFTER_TIME

REPLAY_BITMAP: Final = 8192
REPLAY_WINDOW: Final = REPLAY_BITMAP - 64

MAX_STAGED_PACKETS: Final = 128
MAX_PEERS: Final = 2**20

LIMITER_PACKETS_PER_SECOND: Final = 20
LIMITER_BURST: Final = 5
LIMITER_MAX_ENTRIES: Final = 65_536
LIMITER_IDLE: Final = 1.0

HANDSHAKE_QUEUE_SIZE: Final = 4096
HANDSHAKE_QUEUE_UNDER_LOAD: Final = HANDSHAKE_QUEUE_SIZE // 8
UNDER_LOAD_STICKY: Final = 1.0

HANDSHAKE_DS_BYTE: Final = 0x88
"""DSCP AF41, ECN 00: on initiations and responses only."""
DEFAULT_MTU: Final = 1420
OUTER_OVERHEAD: Final = 80
"""IPv6 header 40, UDP 8, data message 32."""

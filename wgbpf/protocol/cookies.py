"""mac1, mac2 and cookies (sections 5.3, 5.4.4 and 5.4.7), both ways.

A CookieMaker stamps the messages we send to one peer and keeps the cookie that peer gave us. A
CookieChecker judges the messages we receive and makes the replies under load. Neither knows the handshake.
"""

from collections.abc import Callable

from .constants import (
    COOKIE_SECRET_LATENCY,
    COOKIE_SECRET_MAX_AGE,
    KEY_SIZE,
    LABEL_COOKIE,
    LABEL_MAC1,
    MAC_SIZE,
    XNONCE_SIZE,
)
from .crypto import OpenError, Secret, compare, hash_, mac, make_cookie, xaead_open, xaead_seal
from .drops import Drop, Rejected
from .messages import CookieReply

_NO_MAC = bytes(MAC_SIZE)


class CookieMaker:
    """Our side towards one peer: what a sender needs."""

    def __init__(self, peer_static: bytes) -> None:
        self._mac1_key = hash_(LABEL_MAC1, peer_static)
        self._cookie_key = hash_(LABEL_COOKIE, peer_static)
        self._cookie: bytes | None = None
        self._cookie_since = 0.0
        self._sent_mac1: bytes | None = None

    def stamp(self, body: bytes, now: float) -> bytes:
        """The message with its mac1, and mac2 if we hold a cookie that is young enough."""
        mac1 = mac(self._mac1_key, body)
        self._sent_mac1 = mac1
        fresh = COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY
        if self._cookie is None or not 0 <= now - self._cookie_since < fresh:
            return body + mac1 + _NO_MAC
        return body + mac1 + mac(self._cookie, body, mac1)

    def consume(self, reply: CookieReply, now: float) -> None:
        """Keep the cookie of a reply. Only the first authentic reply to our last message counts."""
        if self._sent_mac1 is None:
            raise Rejected(Drop.BAD_COOKIE)
        try:
            cookie = xaead_open(self._cookie_key, reply.nonce, reply.cookie, self._sent_mac1)
        except OpenError as error:
            raise Rejected(Drop.BAD_COOKIE) from error
        self._cookie = cookie
        self._cookie_since = now
        self._sent_mac1 = None


class CookieChecker:
    """Our side towards everybody: what a receiver needs.

    Two secrets are valid at a time, so that a cookie given just before the change still opens the door.
    """

    def __init__(self, own_static: bytes, rand: Callable[[int], bytes]) -> None:
        self._mac1_key = hash_(LABEL_MAC1, own_static)
        self._cookie_key = hash_(LABEL_COOKIE, own_static)
        self._rand = rand
        self._secret = Secret(rand(KEY_SIZE))
        self._previous: Secret | None = None
        self._since: float | None = None

    def check_mac1(self, raw: bytes) -> bool:
        return compare(mac(self._mac1_key, raw[: -2 * MAC_SIZE]), raw[-2 * MAC_SIZE : -MAC_SIZE])

    def check_mac2(self, raw: bytes, source: bytes, now: float) -> bool:
        """`source` is the raw address and big-endian port that the message came from."""
        self._rotate(now)
        for secret in (self._secret, self._previous):
            if secret is None:
                continue
            cookie = make_cookie(bytes(secret), source)
            if compare(mac(cookie, raw[:-MAC_SIZE]), raw[-MAC_SIZE:]):
                return True
        return False

    def reply(self, raw: bytes, sender: int, source: bytes, now: float) -> CookieReply:
        """The answer to a message that must come back with mac2."""
        self._rotate(now)
        nonce = self._rand(XNONCE_SIZE)
        cookie = make_cookie(bytes(self._secret), source)
        mac1 = raw[-2 * MAC_SIZE : -MAC_SIZE]
        return CookieReply(sender, nonce, xaead_seal(self._cookie_key, nonce, cookie, mac1))

    def secrets(self, now: float) -> tuple[Secret, Secret | None]:
        """Current and previous cookie secret, for a guard that checks mac2 itself."""
        self._rotate(now)
        return self._secret, self._previous

    @property
    def next_change(self) -> float | None:
        """When the secrets change; None: not in use yet."""
        return None if self._since is None else self._since + COOKIE_SECRET_MAX_AGE

    def _rotate(self, now: float) -> None:
        if self._since is None:
            self._since = now
        age = now - self._since
        if 0 <= age < COOKIE_SECRET_MAX_AGE:
            return
        # The old secret serves one more latency; after a long silence it is no longer owed to anybody.
        self._previous = self._secret if age < 2 * COOKIE_SECRET_MAX_AGE else None
        self._secret = Secret(self._rand(KEY_SIZE))
        self._since = now

"""The five timers of a peer (section 6), as time stamps from which deadlines are computed.

- retransmit: an initiation was not answered for REKEY_TIMEOUT + jitter;
- keepalive: data arrived and nothing went back for KEEPALIVE_TIMEOUT;
- new handshake: data went out and nothing came back for KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter;
- zero keys: no new session for 3 * REJECT_AFTER_TIME;
- persistent keepalive: nothing authenticated in either direction for the configured interval.

Callers report what happened; only this file decides what it means for a timer.
"""

from .actions import Traffic
from .constants import (
    KEEPALIVE_TIMEOUT,
    NEW_HANDSHAKE_TIMEOUT,
    REKEY_TIMEOUT,
    ZERO_KEYS_TIMEOUT,
)


def _latest(a: float | None, b: float | None) -> float | None:
    return a if b is None else b if a is None else max(a, b)


class Timers:
    """Stamps of one peer, in seconds; None: not pending."""

    def __init__(self) -> None:
        self.persistent_interval = 0
        self.attempts = 0
        self._initiation_sent: float | None = None
        self._initiation_jitter = 0.0
        self._last_handshake_message: float | None = None
        self._unanswered_received: float | None = None
        self._unanswered_sent: float | None = None
        self._unanswered_sent_jitter = 0.0
        self._last_data_received: float | None = None
        self._last_sent: float | None = None
        self._last_received: float | None = None
        self._session_derived: float | None = None
        self._persistent_since: float | None = None

    # --- what happened ---

    def initiation_sent(self, now: float, jitter: float) -> None:
        self._initiation_sent = self._last_handshake_message = now
        self._initiation_jitter = jitter
        self.authenticated_sent(now)

    def response_sent(self, now: float) -> None:
        self._last_handshake_message = now
        self.authenticated_sent(now)

    def handshake_complete(self) -> None:
        self._initiation_sent = None
        self.attempts = 0

    def session_derived(self, now: float) -> None:
        self._session_derived = now

    def data_sent(self, now: float, jitter: float) -> None:
        """A non-empty data packet went out."""
        if self._unanswered_sent is None:
            self._unanswered_sent = now
            self._unanswered_sent_jitter = jitter

    def data_received(self, now: float) -> None:
        """A non-empty data packet came in."""
        self._last_data_received = now
        if self._unanswered_received is None:
            self._unanswered_received = now

    def authenticated_sent(self, now: float) -> None:
        """Initiation, response, data or keepalive."""
        self._last_sent = now
        self._unanswered_received = None

    def authenticated_received(self, now: float) -> None:
        """Initiation, response, data or keepalive."""
        self._last_received = now
        self._unanswered_sent = None

    def data_came_while_keepalive_pending(self) -> bool:
        """More than the packet that armed the keepalive: another one is owed after it."""
        first, last = self._unanswered_received, self._last_data_received
        return first is not None and last is not None and last > first

    def rearm_keepalive(self, now: float) -> None:
        self._unanswered_received = now

    def persistent_enabled(self, interval: int, now: float) -> None:
        self.persistent_interval = interval
        self._persistent_since = now

    def traffic(self, report: Traffic, jitter: float) -> None:
        """A data path tells what it did by itself; its stamps and ours are merged."""
        self._last_sent = _latest(self._last_sent, report.last_sent)
        self._last_received = _latest(self._last_received, report.last_received)
        self._last_data_received = _latest(self._last_data_received, report.last_data_received)
        self._unanswered_received = _first_after(
            self._last_sent, self._unanswered_received, report.unanswered_received, report.last_data_received
        )
        was_pending = self._unanswered_sent is not None
        self._unanswered_sent = _first_after(
            self._last_received, self._unanswered_sent, report.unanswered_sent, report.last_data_sent
        )
        if not was_pending:
            self._unanswered_sent_jitter = jitter

    def stop(self) -> None:
        """Interface down, or the peer's keys were wiped."""
        self._initiation_sent = self._unanswered_received = self._unanswered_sent = None
        self._session_derived = None
        self.attempts = 0

    def cancel_keepalive(self) -> None:
        self._unanswered_received = None

    def cancel_retransmit(self) -> None:
        self._initiation_sent = None

    def postpone_retransmit(self) -> None:
        """We answered the peer's own initiation just now; that counts as our last message (rule a)."""
        self._initiation_sent = self._last_handshake_message

    def cancel_new_handshake(self) -> None:
        self._unanswered_sent = None

    def zero_keys_fired(self) -> None:
        self._session_derived = None

    def arm_zero_keys(self, now: float) -> None:
        """An attempt was given up: what keys there are shall not live for ever."""
        if self._session_derived is None:
            self._session_derived = now

    # --- what follows ---

    def may_initiate(self, now: float) -> bool:
        """Rule (a): one handshake message of ours to this peer per REKEY_TIMEOUT."""
        last = self._last_handshake_message
        return last is None or not 0 <= now - last < REKEY_TIMEOUT

    def retransmit_due(self) -> float | None:
        since = self._initiation_sent
        return None if since is None else since + REKEY_TIMEOUT + self._initiation_jitter

    def keepalive_due(self) -> float | None:
        since = self._unanswered_received
        return None if since is None else since + KEEPALIVE_TIMEOUT

    def new_handshake_due(self) -> float | None:
        since = self._unanswered_sent
        return None if since is None else since + NEW_HANDSHAKE_TIMEOUT + self._unanswered_sent_jitter

    def zero_keys_due(self) -> float | None:
        since = self._session_derived
        return None if since is None else since + ZERO_KEYS_TIMEOUT

    def persistent_due(self) -> float | None:
        if not self.persistent_interval:
            return None
        since = _latest(_latest(self._last_sent, self._last_received), self._persistent_since)
        return None if since is None else since + self.persistent_interval

    def next_deadline(self) -> float | None:
        dues = (
            self.retransmit_due(),
            self.keepalive_due(),
            self.new_handshake_due(),
            self.zero_keys_due(),
            self.persistent_due(),
        )
        return min((due for due in dues if due is not None), default=None)


def _first_after(
    answered: float | None, known: float | None, reported: float | None, last: float | None
) -> float | None:
    """The first packet not answered yet, from our own stamp, the report's, and the last packet seen."""
    if known is not None and (answered is None or known >= answered):
        return known
    candidates = (reported, last)
    return min((t for t in candidates if t is not None and (answered is None or t > answered)), default=None)

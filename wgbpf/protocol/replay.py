"""Replay window of one receiving key (section 5.4.6; RFC 6479 with 64-bit words).

A bitmap of 8192 bits of which one word is always kept free, so a counter may lag by 8128.
"""

from .constants import REJECT_AFTER_MESSAGES, REPLAY_BITMAP, REPLAY_WINDOW

_WORD = 64
_WORDS = REPLAY_BITMAP // _WORD


class ReplayWindow:
    """Accepts each counter once. Call `accept` only after the packet has been authenticated."""

    __slots__ = ("_words", "highest")

    def __init__(self) -> None:
        self._words = [0] * _WORDS
        self.highest = -1

    def accept(self, counter: int) -> bool:
        """True and marked, or False: seen already, too old, or past the message limit."""
        if counter >= REJECT_AFTER_MESSAGES:
            return False
        word = counter // _WORD
        if counter > self.highest:
            passed = word - max(self.highest, 0) // _WORD
            for n in range(min(passed, _WORDS)):
                self._words[(word - n) % _WORDS] = 0
            self.highest = counter
        elif self.highest - counter > REPLAY_WINDOW:
            return False
        bit = 1 << counter % _WORD
        if self._words[word % _WORDS] & bit:
            return False
        self._words[word % _WORDS] |= bit
        return True

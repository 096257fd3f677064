"""Keeps the greatest TAI64N stamp over restarts, so that a clock set back locks nobody out.

A peer refuses initiations that are not stamped later than the last one it accepted. The file holds a time
up to which stamps may have been used; it is written ahead, a minute at a time, not once a handshake.
"""

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger("wgbpf")

_AHEAD_NS = 60_000_000_000


class TimestampStore:
    """`floor_ns`: Unix time in ns that every stamp of this process must reach."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.floor_ns = 0
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            text = path.read_text(errors="replace").strip()
            if text.isascii() and text.isdigit():
                self.floor_ns = int(text)
            else:
                log.warning("%s is damaged and will be rewritten", path)
        self._reserved = self.floor_ns

    def reserve(self, ns: int) -> None:
        """A stamp of this time is about to be sent."""
        if ns <= self._reserved:
            return
        self._reserved = ns + _AHEAD_NS
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".new")
            temporary.write_text(f"{self._reserved}\n")
            os.replace(temporary, self._path)
        except OSError as error:
            log.warning(
                "%s: %s: after a restart with the clock set back, peers may refuse us", self._path, error
            )

"""Notices that a file was deleted (inotify(7)): `rm` of the UAPI socket ends a userspace WireGuard."""

import contextlib
import ctypes
import os
from pathlib import Path

_IN_DELETE_SELF = 0x400
_IN_ATTRIB = 0x4

_libc = ctypes.CDLL(None, use_errno=True)


class DeletionWatch:
    """`fd` becomes readable when the file may be gone; `is_gone` says whether it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = path.stat().st_ino
        self.fd: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if (
            self.fd < 0
            or _libc.inotify_add_watch(self.fd, os.fsencode(path), _IN_DELETE_SELF | _IN_ATTRIB) < 0
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def is_gone(self) -> bool:
        """Also empties the queue of events."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def close(self) -> None:
        os.close(self.fd)

"""Lets a device's NAPI run in kernel threads (`/sys/class/net/*/threaded`, Linux 5.12).

In the soft interrupt of the sender every packet is carried by itself, at the least latency; a thread finds
many at once and runs beside the sender. Which one is better depends on the load.
"""

import ctypes
import os

# The same numbers on every architecture (include/uapi/asm-generic/unistd.h).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSCONFIG_CMD_CREATE = 6
_CLOEXEC = 1


class NapiThreads:
    """The switch of one interface; where the kernel has none, `switch` says no."""

    def __init__(self, interface: str) -> None:
        self._fd = _open(f"class/net/{interface}/threaded")

    def switch(self, on: bool) -> bool:
        """Whether it took effect."""
        try:
            return self._fd >= 0 and os.write(self._fd, b"1" if on else b"0") > 0
        except OSError:
            return False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open(path: str) -> int:
    """A file of the sysfs of this network namespace, which need not be the one that is mounted; or -1."""
    libc = ctypes.CDLL(None, use_errno=True)
    context = mount = -1
    try:
        context = libc.syscall(_FSOPEN, b"sysfs", _CLOEXEC)
        if context < 0 or libc.syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0) < 0:
            return -1
        mount = libc.syscall(_FSMOUNT, context, _CLOEXEC, 0)
        return -1 if mount < 0 else os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=mount)
    except OSError:
        return -1
    finally:
        for fd in (mount, context):
            if fd >= 0:
                os.close(fd)

"""Pins under /sys/fs/bpf/wgbpf/<interface>/: what keeps the data path alive without a controller."""

import contextlib
import ctypes
import os
from pathlib import Path

from . import abi, libbpf
from .interface import UnsupportedError

BPFFS = Path("/sys/fs/bpf")
ROOT = BPFFS / "wgbpf"
_BPF_MAGIC = 0xCAFE4A11
_VERSION = f"v{abi.ABI}_"


def directory(interface: str) -> Path:
    return ROOT / interface


def mount() -> None:
    """Mount bpffs where it is missing. Raises UnsupportedError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if _is_bpffs():
        return
    libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
    if libc.mount(b"bpf", str(BPFFS).encode(), b"bpf", 0, b"mode=0700"):
        reason = os.strerror(ctypes.get_errno())
        raise UnsupportedError(f"mounting bpffs: {reason} (try: mount -t bpf bpf {BPFFS})")


def _is_bpffs() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    found = ctypes.create_string_buffer(256)
    if libc.statfs(str(BPFFS).encode(), found):
        return False
    return int.from_bytes(found.raw[:4], "little") == _BPF_MAGIC


class Pins:
    """The pins of one interface; names carry the ABI version."""

    def __init__(self, interface: str) -> None:
        self.path = directory(interface)

    def create(self) -> None:
        """Raises OSError."""
        ROOT.mkdir(mode=0o700, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)

    def pin(self, name: str, fd: int) -> None:
        libbpf.pin(fd, self.path / (_VERSION + name))

    def get(self, name: str) -> int | None:
        """A new descriptor; None when there is no such pin."""
        path = self.path / (_VERSION + name)
        return libbpf.get_pinned(path) if path.exists() else None

    def names(self, prefix: str) -> list[str]:
        if not self.path.is_dir():
            return []
        names = (path.name.removeprefix(_VERSION) for path in self.path.iterdir())
        return sorted(name for name in names if name.startswith(prefix))

    def unpin(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.path / (_VERSION + name)).unlink()

    def remove(self) -> None:
        """Everything, of any ABI version. Never raises."""
        if self.path.is_dir():
            for path in self.path.iterdir():
                with contextlib.suppress(OSError):
                    path.unlink()
            with contextlib.suppress(OSError):
                self.path.rmdir()
        with contextlib.suppress(OSError):
            ROOT.rmdir()

"""Loads the XDP programs, attaches them by bpf_link and pins what must outlive the controller."""

import contextlib
import errno
import os
from pathlib import Path

from . import abi, libbpf
from .bpffs import Pins, mount
from .guardmaps import live_entries
from .interface import DataPathError, UnsupportedError
from .libbpf import Map, Object, Program
from .xdpforeign import OccupiedError

OBJECTS = Path(__file__).with_name("objects")
_FILES = ("ingress", "egress")
_PEER_MAPS = ("endpoints", "sending", "traffic", "peer_keys")
_RENEWED = ("allowed4", "allowed6", "locals", "nics", "cpus", "live")
"""Maps that a controller fills anew: the programs that use the old ones run until `switch`."""
_FAR_LINK = "link_far"
_NIC_LINK = "link_nic_"

NATIVE, GENERIC = "native", "generic"
_FLAGS = {NATIVE: libbpf.XDP_NATIVE, GENERIC: libbpf.XDP_GENERIC}


class XdpPrograms:
    """Programs, maps and links of one interface."""

    def __init__(self, interface: str) -> None:
        self.pins = Pins(interface)
        self._objects: list[Object] = []
        self._links: dict[str, int] = {}
        self._adopted_fds: list[int] = []
        self._old_links: dict[str, int] = {}
        self._wanted: dict[str, tuple[str, int, str]] = {}
        self.maps: dict[str, Map] = {}
        self.programs: dict[str, Program] = {}

    def load(self, settings: abi.Settings, slots: int, peers: int) -> None:
        """Raises UnsupportedError when this machine cannot, with what it lacks."""
        mount()
        for name in _FILES:
            path = OBJECTS / f"{name}.o"
            if not path.exists():
                raise UnsupportedError(f"{path} is missing: build the BPF objects (make bpf)")
            try:
                self._load(path, settings, slots, peers)
            except libbpf.LibbpfMissing as error:
                raise UnsupportedError(str(error)) from error
            except OSError as error:
                raise UnsupportedError(f"{error.strerror} (kernel {os.uname().release})") from error

    def _load(self, path: Path, settings: abi.Settings, slots: int, peers: int) -> None:
        made = Object(path)
        self._objects.append(made)
        made.set_rodata(bytes(settings))
        for name in ("sessions", *_PEER_MAPS):
            if name not in self.maps:
                made.set_max_entries(name, slots if name == "sessions" else peers)
        made.set_max_entries("live", live_entries(peers))
        made.share(self.maps)
        made.load()
        self.programs |= made.programs
        shared = {name: m for name, m in made.maps.items() if "." not in name}
        self.maps = shared | self.maps

    def adopt(self) -> None:
        """Use the maps that an earlier process left pinned; its links wait for `switch`. Raises OSError."""
        for name in self.pins.names("map_"):
            short = name.removeprefix("map_")
            fd = self.pins.get(name)
            if fd is not None and short not in _RENEWED:
                self._adopted_fds.append(fd)
                self.maps[short] = libbpf.map_of(short, fd)
            elif fd is not None:
                os.close(fd)
        self._old_links = {
            name: fd for name in self.pins.names("link_") if (fd := self.pins.get(name)) is not None
        }

    def switch(self) -> None:
        """From an earlier process's programs to ours, link by link, without a gap; drop what is left over."""
        for name in _RENEWED:
            self.pins.unpin(f"map_{name}")
        for name in self._old_links.keys() & self._wanted.keys():
            program, _, _ = self._wanted.pop(name)
            self._links[name] = self._old_links.pop(name)
            libbpf.update_link(self._links[name], self.programs[program].fd)
        for name, fd in self._old_links.items():
            self._links[name] = fd
            self._detach(name)
        self._old_links = {}

    # --- links ---

    def attach_far(self, ifindex: int, name: str, mode: str) -> None:
        """The egress program to the far end. Raises DataPathError."""
        try:
            self._attach(_FAR_LINK, "wg_egress", ifindex, mode)
        except OSError as error:
            raise DataPathError(f"attaching to {name}: {error}") from error

    def attach_nic(self, nic: str, ifindex: int, mode: str) -> str:
        """The ingress program to a NIC; the mode. Raises OccupiedError, UnsupportedError."""
        wanted = NATIVE if mode == "auto" else mode
        try:
            self._attach(f"{_NIC_LINK}{ifindex}", "wg_ingress", ifindex, wanted)
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.EEXIST):
                raise OccupiedError(nic) from error
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL) and wanted == NATIVE:
                raise UnsupportedError(
                    f"{nic}: its driver has no native XDP; --mode generic works, slower"
                ) from error
            raise UnsupportedError(
                f"{nic}: attaching XDP ({wanted}): {os.strerror(error.errno or 0)}"
            ) from error
        return wanted

    def _attach(self, name: str, program: str, ifindex: int, mode: str) -> None:
        fd = self.programs[program].fd
        if name in self._old_links:
            self._wanted[name] = program, ifindex, mode
            return
        self._links[name] = libbpf.attach_xdp(fd, ifindex, _FLAGS[mode])
        if self.pins.path.is_dir():
            self.pins.pin(name, self._links[name])

    def detach_far(self) -> None:
        self._detach(_FAR_LINK)

    def detach_nic(self, ifindex: int) -> None:
        self._detach(f"{_NIC_LINK}{ifindex}")

    def _detach(self, name: str) -> None:
        fd = self._links.pop(name, None)
        if fd is not None:
            self.pins.unpin(name)
            with contextlib.suppress(OSError):
                libbpf.detach_link(fd)
            os.close(fd)

    # --- life ---

    def pin(self) -> None:
        """From now on everything outlives this process. Raises OSError."""
        self.pins.create()
        for name, made in self.maps.items():
            if f"map_{name}" not in self.pins.names("map_"):
                self.pins.pin(f"map_{name}", made.fd)
        for name, fd in self._links.items():
            if name not in self.pins.names("link_"):
                self.pins.pin(name, fd)

    def close(self) -> None:
        """Take everything away. Never raises."""
        for name in list(self._links):
            self._detach(name)
        self.pins.remove()
        for made in self._objects:
            made.close()
        self._objects.clear()
        for fd in (*self._adopted_fds, *self._old_links.values()):
            with contextlib.suppress(OSError):
                os.close(fd)
        self._adopted_fds.clear()
        self.maps = {}

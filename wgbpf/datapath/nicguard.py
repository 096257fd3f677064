"""The guard on NICs whose packets user space opens.

Its links live as long as this process: so does what it guards.
"""

import dataclasses
import errno
import os
from collections.abc import Iterable
from typing import Final

from ..protocol.actions import Session
from . import libbpf
from .abi import Count
from .guard import OFF, REASONS, XdpGuard
from .guardmaps import GuardMaps, LiveIndices, live_entries
from .interface import DataPathError, Direction, Guard, GuardSettings, GuardState, UnsupportedError
from .libbpf import Object, possible_cpus
from .netlink import VETH, Netlink
from .xdpforeign import OccupiedError, make_way
from .xdpprograms import GENERIC, NATIVE, OBJECTS

_MODES: Final = {NATIVE: libbpf.XDP_NATIVE, GENERIC: libbpf.XDP_GENERIC}
_NOT_ON_VETH: Final = "a veth: XDP would cost its peer segmentation offloads (--guard on)"
_DROPS: Final = {
    "bad_type": Count.RX_BAD_TYPE,
    "bad_length": Count.RX_BAD_LENGTH,
    "unknown_index": Count.RX_UNKNOWN_INDEX,
    "failed": Count.RX_FAILED,
    **REASONS,
}


class _Program:
    """The loaded program and its maps."""

    def __init__(self, peers: int, live: LiveIndices) -> None:
        path = OBJECTS / "guard.o"
        if not path.exists():
            raise UnsupportedError(f"{path} is missing: build the BPF objects (make bpf)")
        try:
            self._object = Object(path)
            self._object.set_max_entries("live", live_entries(peers))
            self._object.load()
        except libbpf.LibbpfMissing as error:
            raise UnsupportedError(str(error)) from error
        except OSError as error:
            raise UnsupportedError(f"{error.strerror} (kernel {os.uname().release})") from error
        self.fd = self._object.programs["wg_guard"].fd
        self._maps = self._object.maps
        self.guard = GuardMaps(self._maps, live)
        self._locals: set[bytes] = set()
        self._cpus = possible_cpus()

    def set_port(self, port: int) -> None:
        self.guard.set_control("listen_port", port)

    def set_locals(self, addresses: Iterable[bytes]) -> None:
        wanted = {address.ljust(16, b"\0") for address in addresses}
        for packed in wanted - self._locals:
            self._maps["locals"].update(packed, bytes(4))
        for packed in self._locals - wanted:
            self._maps["locals"].delete(packed)
        self._locals = wanted

    def count(self, which: Count) -> int:
        size = 8 * self._cpus
        value = self._maps["counts"].lookup(which.to_bytes(4, "little"), size) or bytes(size)
        return sum(int.from_bytes(value[n : n + 8], "little") for n in range(0, size, 8))

    def close(self) -> None:
        self.guard.close()
        self._object.close()


class NicGuard(Guard):
    """`wanted` is auto, on or off. Loaded with the first NIC that takes it."""

    def __init__(self, netlink: Netlink, wanted: str, mode: str, peers: int) -> None:
        super().__init__("")
        self._netlink = netlink
        self._wanted = wanted
        self._mode = GENERIC if mode == GENERIC else NATIVE
        self._peers = peers
        self._program: _Program | None = None
        self._inner: XdpGuard | None = None
        self._links: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        self._port = 0
        # Also of sessions that are older than the program.
        self._live = LiveIndices()

    # --- NICs ---

    def attach(self, nic: str, replace: bool) -> None:
        """Raises DataPathError where it is to be on and cannot; with `auto` the reason is kept."""
        if self._wanted == "off":
            return
        link = self._netlink.need(nic)
        if self._wanted == "auto" and link.kind == VETH:
            self._reasons[nic] = _NOT_ON_VETH
            return
        try:
            program = self._loaded()
            program.guard.set_nic(link.index, link.kind == VETH and self._mode == NATIVE)
            self._links[nic] = self._attached(program, nic, link.index, replace)
        except DataPathError as error:
            if self._wanted == "on":
                raise
            self._reasons[nic] = str(error).removeprefix(f"{nic}: ").removeprefix(f"{nic} ")
        else:
            self._reasons.pop(nic, None)

    def _loaded(self) -> _Program:
        if self._program is None:
            self._program = _Program(self._peers, self._live)
            self._program.set_port(self._port)
            self._inner = XdpGuard(self._program.guard, self._program.count, lambda: "")
            self.network_changed()
        return self._program

    def _attached(self, program: _Program, nic: str, index: int, replace: bool) -> int:
        def attach() -> int:
            try:
                return libbpf.attach_xdp(program.fd, index, _MODES[self._mode])
            except OSError as error:
                if error.errno in (errno.EBUSY, errno.EEXIST):
                    raise OccupiedError(nic) from error
                lack = "its driver has no native XDP" if self._mode == NATIVE else "attaching XDP"
                raise UnsupportedError(f"{nic}: {lack} ({os.strerror(error.errno or 0)})") from error

        return make_way(self._netlink, nic, index, replace, attach)

    def detach(self, nic: str) -> None:
        self._reasons.pop(nic, None)
        fd = self._links.pop(nic, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        for nic in list(self._links):
            self.detach(nic)
        if self._program is not None:
            self._program.close()
        self._program = self._inner = None

    # --- what it must know ---

    def set_port(self, port: int) -> None:
        self._port = port
        if self._program is not None:
            self._program.set_port(port)

    def network_changed(self) -> None:
        if self._program is not None:
            self._program.set_locals(a.packed for a in self._netlink.local_addresses())

    @property
    def on(self) -> bool:
        return bool(self._links)

    def set(self, settings: GuardSettings | None) -> None:
        if self._inner is not None:
            self._inner.set(settings)

    def loaded(self, until: float) -> None:
        if self._inner is not None:
            self._inner.loaded(until)

    def sent(self, datagram: bytes) -> None:
        self._live.sent(datagram)

    def installed(self, session: Session) -> None:
        self._live.installed(session)

    def retired(self, local_index: int) -> None:
        self._live.retired(local_index)

    # --- facts ---

    def drops(self) -> dict[tuple[Direction, str], int]:
        """Every reason is there from the start."""
        program = self._program
        return {
            (Direction.RECEIVE, reason): 0 if program is None else program.count(which)
            for reason, which in _DROPS.items()
        }

    def notes(self) -> list[str]:
        """What is missing without having been turned off; a veth goes without saying."""
        return [f"no guard on {nic}: {why}" for nic, why in self._reasons.items() if why != _NOT_ON_VETH]

    def state(self) -> GuardState:
        if self._wanted == "off":
            return GuardState(False, OFF)
        parts = [f"{nic} ({self._mode})" for nic in self._links]
        parts += [f"not on {nic}: {why}" for nic, why in self._reasons.items()]
        text = ", ".join(parts) or "no NIC"
        if self._inner is None or not self._links:
            return GuardState(False, text)
        return dataclasses.replace(self._inner.state(), text=text)

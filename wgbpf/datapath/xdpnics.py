"""The NICs of the xdp data path, and the mode of the far end that follows from what they can do."""

from functools import partial

from . import xdpfeatures
from .guardmaps import GuardMaps
from .interface import DataPathError
from .netlink import VETH, Netlink
from .vethpair import VethPair
from .xdpforeign import make_way
from .xdpmaps import XdpMaps
from .xdpprograms import GENERIC, NATIVE, XdpPrograms


class XdpNics:
    """Attaches the programs; `mode` is what the user asked for."""

    def __init__(
        self,
        netlink: Netlink,
        veth: VethPair,
        programs: XdpPrograms,
        maps: XdpMaps,
        guard: GuardMaps,
        mode: str,
    ) -> None:
        self._netlink = netlink
        self._veth = veth
        self._programs = programs
        self._maps = maps
        self._guard = guard
        self._mode = mode
        self._nics: dict[str, tuple[int, str]] = {}
        self.far_mode = GENERIC if mode == GENERIC else NATIVE
        self._attach_far()

    def _attach_far(self) -> None:
        self._programs.attach_far(self._veth.far, self._veth.far_name, self.far_mode)

    def attach(self, nic: str, replace: bool) -> None:
        """Raises DataPathError."""
        link = self._netlink.need(nic)
        index = link.index
        if nic in self._nics:
            raise DataPathError(f"{nic} is attached already")
        attach = partial(self._programs.attach_nic, nic, index, self._mode)
        self._guard.set_nic(index, link.kind == VETH and self._mode != GENERIC)
        self._nics[nic] = index, make_way(self._netlink, nic, index, replace, attach)
        self.look()

    def detach(self, nic: str) -> None:
        """Raises DataPathError."""
        if nic not in self._nics:
            raise DataPathError(f"{nic} is not attached")
        index, _ = self._nics.pop(nic)
        self._maps.set_nic(index, False)
        self._programs.detach_nic(index)

    def look(self) -> None:
        """What is sealed natively can leave only by a NIC that takes redirected frames."""
        features = {index: xdpfeatures.xdp_features(index) for index, _ in self._nics.values()}
        takes = xdpfeatures.REDIRECT_TARGET
        if self.far_mode == NATIVE and any(f is not None and not f & takes for f in features.values()):
            self.far_mode = GENERIC
            self._programs.detach_far()
            self._attach_far()
        for index, found in features.items():
            usable = self.far_mode == GENERIC or found is None or bool(found & takes)
            self._maps.set_nic(index, usable)

    @property
    def is_native(self) -> bool:
        """Whether packets are received and sent by native XDP."""
        return self.far_mode == NATIVE and all(mode == NATIVE for _, mode in self._nics.values())

    @property
    def receiving(self) -> str:
        """For people: the modes of the NICs."""
        return "+".join(sorted({mode for _, mode in self._nics.values()}) or ["no NIC"])

    @property
    def sending(self) -> str:
        if self.far_mode == NATIVE:
            return NATIVE
        return GENERIC if self._mode == GENERIC else f"{GENERIC} (a NIC takes no redirected frames)"

    @property
    def names(self) -> list[str]:
        return list(self._nics)

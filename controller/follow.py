"""What the controller does when links, addresses or routes change under it."""

import logging

from wgbpf.datapath.netlink import Netlink
from wgbpf.protocol.constants import OUTER_OVERHEAD

from .engine import Engine
from .netwatch import Changes

log = logging.getLogger("wgbpf")

_MAX_ROUTE_LOOKUPS = 64
_MIN_MTU = 1280


def default_mtu(nic_mtus: list[int], most: int = 65_535) -> int | None:
    """MTU for the tunnel that fits the smallest NIC over IPv6; None when no NIC is known."""
    return max(_MIN_MTU, min(most, min(nic_mtus) - OUTER_OVERHEAD)) if nic_mtus else None


class Follower:
    """Keeps engine and interface in step with the system."""

    def __init__(self, engine: Engine, netlink: Netlink, nics: list[str], mtu_is_ours: bool) -> None:
        self._engine = engine
        self._netlink = netlink
        self._nics = nics
        self._mtu_is_ours = mtu_is_ours
        self._mtu = 0
        self.links()

    def changed(self, changes: Changes) -> None:
        if changes.links or changes.addresses:
            self._engine.datapath.network_changed()
        if changes.links:
            self.links()
        if changes.addresses:
            self._addresses()
        if changes.routes:
            self._routes()

    def links(self) -> None:
        """State and MTU of our interface, MTU of the NICs."""
        link = self._netlink.link(self._engine.datapath.ifindex)
        if link is None:
            self._engine.gone.set()
            return
        if link.mtu != self._mtu:
            # Somebody else set it: from now on it is theirs.
            self._mtu_is_ours = self._mtu_is_ours and self._mtu in (0, link.mtu)
            self._mtu = link.mtu
            self._engine.set_mtu(link.mtu)
        self._engine.set_up(link.up)
        if self._mtu_is_ours:
            self._follow_nic_mtu(link.index)

    def _follow_nic_mtu(self, index: int) -> None:
        nics = [link for nic in self._nics if (link := self._netlink.link(nic)) is not None]
        wanted = default_mtu([nic.mtu for nic in nics], self._engine.datapath.max_mtu)
        if wanted is not None and wanted != self._mtu:
            log.info("MTU %d: follows %s", wanted, ", ".join(self._nics))
            self._netlink.set_mtu(index, wanted)
            self._mtu = wanted
            self._engine.set_mtu(wanted)

    def _addresses(self) -> None:
        """Replies must not leave from an address that is no longer ours."""
        paths = self._engine.device.paths()
        if not paths:
            return
        ours = self._netlink.local_addresses()
        lost = [n for n, path in paths.items() if path.local is not None and path.local.address not in ours]
        self._forget(lost)

    def _routes(self) -> None:
        """Where the route towards a peer now leaves by another interface, routing chooses the source."""
        paths = self._engine.device.paths()
        if len(paths) > _MAX_ROUTE_LOOKUPS:
            # Too many to ask for one by one; each is learned again from the peer's next packet.
            self._forget(list(paths))
            return
        lost = []
        for number, path in paths.items():
            assert path.local is not None
            mark = self._engine.device.fwmark
            out = self._netlink.outgoing_interface(path.remote.address, path.local.address, mark)
            if out != path.local.ifindex:
                lost.append(number)
        self._forget(lost)

    def _forget(self, numbers: list[int]) -> None:
        if numbers:
            self._engine.carry_out(self._engine.device.forget_sources(numbers))

    def nics_changed(self) -> None:
        if self._mtu_is_ours:
            self.links()

"""Links, addresses and routes, by pyroute2 in a thread of its own.

pyroute2's synchronous classes run an event loop and refuse to work inside another one; a single worker
thread serves callers with and without a loop, and keeps to one socket.
"""

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from .interface import DataPathError

VETH = "veth"
_IFF_UP = 1
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    mtu: int
    up: bool
    kind: str = ""
    """Of a virtual one: veth, bridge, ..."""


def _kind(message: Any) -> str:
    info = message.get_attr("IFLA_LINKINFO")
    return "" if info is None else info.get_attr("IFLA_INFO_KIND") or ""


class NoSuchLink(DataPathError):
    pass


class Netlink:
    """The network namespace of this process. Each call blocks for about a millisecond."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._ipr: IPRoute = self._worker.submit(IPRoute).result()

    def close(self) -> None:
        self._worker.submit(self._ipr.close).result()
        self._worker.shutdown()

    def run(self, call: Callable[[Any], _T]) -> _T:
        """`call` with the IPRoute object, in the worker thread."""
        return self._worker.submit(call, self._ipr).result()

    # --- links ---

    def link(self, name_or_index: str | int) -> Link | None:
        def find(ipr: Any) -> Link | None:
            key = "index" if isinstance(name_or_index, int) else "ifname"
            try:
                found = list(ipr.link("get", **{key: name_or_index}))
            except NetlinkError as error:
                if error.code in (errno.ENODEV, errno.EINVAL, errno.ERANGE):
                    return None
                raise
            if not found:
                return None
            message = found[0]
            flags = message["flags"]
            return Link(
                message["index"],
                message.get_attr("IFLA_IFNAME"),
                message.get_attr("IFLA_MTU"),
                bool(flags & _IFF_UP),
                _kind(message),
            )

        return self.run(find)

    def need(self, name: str) -> Link:
        """Raises NoSuchLink, whose message names the interface."""
        link = self.link(name)
        if link is None:
            raise NoSuchLink(f"no such interface: {name} (see `ip link`)")
        return link

    def index(self, name: str) -> int:
        """Raises NoSuchLink."""
        return self.need(name).index

    def set_mtu(self, index: int, mtu: int) -> None:
        try:
            self.run(lambda ipr: ipr.link("set", index=index, mtu=mtu))
        except NetlinkError as error:
            raise DataPathError(f"setting MTU {mtu}: {error.args[1]}") from error

    def set_up(self, index: int) -> None:
        self.run(lambda ipr: ipr.link("set", index=index, state="up"))

    def delete(self, index: int) -> None:
        """Raises NetlinkError."""
        self.run(lambda ipr: ipr.link("del", index=index))

    # --- addresses and routes ---

    def local_addresses(self) -> set[IPv4Address | IPv6Address]:
        """All addresses of this host."""

        def dump(ipr: Any) -> set[IPv4Address | IPv6Address]:
            found = (m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS") for m in ipr.get_addr())
            return {ip_address(text) for text in found if text}

        return self.run(dump)

    def address_owners(self) -> dict[IPv4Address | IPv6Address, int]:
        """All addresses of this host and the index of their interface."""

        def dump(ipr: Any) -> dict[IPv4Address | IPv6Address, int]:
            found = (
                (m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS"), m["index"]) for m in ipr.get_addr()
            )
            return {ip_address(text): index for text, index in found if text}

        return self.run(dump)

    def add_address(self, index: int, interface: IPv4Interface | IPv6Interface) -> None:
        address = str(interface.ip)
        prefix = interface.network.prefixlen
        try:
            self.run(lambda ipr: ipr.addr("add", index=index, address=address, prefixlen=prefix))
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise DataPathError(f"adding address {interface}: {error.args[1]}") from error

    def add_route(self, index: int, network: IPv4Network | IPv6Network, table: int | None) -> None:
        """A device route. One that is there already is no error."""
        extra = {} if table is None else {"table": table}
        family = {4: 2, 6: 10}[network.version]
        try:
            self.run(lambda ipr: ipr.route("add", dst=str(network), oif=index, family=family, **extra))
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise DataPathError(f"adding route {network}: {error.args[1]}") from error

    def outgoing_interface(
        self, remote: IPv4Address | IPv6Address, source: IPv4Address | IPv6Address, mark: int
    ) -> int | None:
        """Index of the interface that a packet would leave by; None without a route."""
        extra = {"mark": mark} if mark else {}
        family = {4: 2, 6: 10}[remote.version]

        def ask(ipr: Any) -> int | None:
            try:
                found = list(ipr.route("get", dst=str(remote), src=str(source), family=family, **extra))
            except NetlinkError:
                return None
            index: int | None = found[0].get_attr("RTA_OIF") if found else None
            return index

        return self.run(ask)

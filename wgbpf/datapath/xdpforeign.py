"""An XDP program of somebody else on a NIC: its name, and taking it off when the user asks for that."""

import errno
from collections.abc import Callable
from typing import Any, TypeVar

from pyroute2.netlink.exceptions import NetlinkError

from . import libbpf
from .interface import DataPathError
from .netlink import Netlink

_NO_PROGRAM = -1
_T = TypeVar("_T")


class OccupiedError(DataPathError):
    """A NIC carries another XDP program (`auto` takes a data path that leaves it alone)."""


def make_way(netlink: Netlink, nic: str, ifindex: int, replace: bool, attach: Callable[[], _T]) -> _T:
    """What `attach` returns. A program in the way is taken off, or named in an OccupiedError."""
    try:
        return attach()
    except OccupiedError as error:
        if not replace:
            raise OccupiedError(
                f"{nic} carries {describe(netlink, ifindex)}: --replace takes it off"
            ) from error
    take_off(netlink, nic, ifindex)
    return attach()


def describe(netlink: Netlink, ifindex: int) -> str:
    """`NAME (id N)` of the program on a NIC."""

    def find(ipr: Any) -> int | None:
        found = next(iter(ipr.link("get", index=ifindex))).get_attr("IFLA_XDP")
        return None if found is None else found.get_attr("IFLA_XDP_PROG_ID")

    number = netlink.run(find)
    if number is None:
        return "an XDP program"
    try:
        return f"the XDP program {libbpf.program_name(number)} (id {number})"
    except OSError:
        return f"the XDP program with id {number}"


def take_off(netlink: Netlink, nic: str, ifindex: int) -> None:
    """Raises OccupiedError when a bpf_link holds it: only its owner can let go."""
    try:
        netlink.run(lambda ipr: ipr.link("set", index=ifindex, xdp={"attrs": [("IFLA_XDP_FD", _NO_PROGRAM)]}))
    except NetlinkError as error:
        if error.code == errno.EBUSY:
            raise OccupiedError(
                f"{nic} carries {describe(netlink, ifindex)}, held by a bpf_link: end what made it first"
            ) from error
        raise DataPathError(f"{nic}: taking off its XDP program: {error.args[1]}") from error

"""Takes away what the xdp data path of a dead controller left, also one that died while it started."""

import os

from . import libbpf
from .bpffs import Pins
from .netlink import Netlink
from .vethpair import is_ours


def remove(interface: str) -> bool:
    """Links, maps and interface; False when there is nothing of ours. Raises OSError."""
    pins = Pins(interface)
    if not pins.path.is_dir():
        return False
    for name in pins.names("link_"):
        fd = pins.get(name)
        if fd is not None:
            libbpf.detach_link(fd)
            os.close(fd)
    netlink = Netlink()
    try:
        link = netlink.link(interface)
        if link is not None and netlink.run(lambda ipr: is_ours(ipr, link.index)):
            netlink.delete(link.index)
    finally:
        netlink.close()
    # Last: the directory is what tells the next one that there is something left.
    pins.remove()
    return True


def remove_half_made(interface: str) -> None:
    """Of a start that did not get as far as maps that could be taken over. Raises OSError."""
    if not Pins(interface).names("map_"):
        remove(interface)

"""Takes away what the xdp data path of a dead controller left."""

import os

from . import libbpf
from .bpffs import Pins
from .netlink import Netlink


def remove(interface: str) -> bool:
    """Links, maps and interface; False when there is nothing of ours. Raises OSError."""
    pins = Pins(interface)
    names = pins.names("")
    if not names:
        return False
    for name in pins.names("link_"):
        fd = pins.get(name)
        if fd is not None:
            libbpf.detach_link(fd)
            os.close(fd)
    pins.remove()
    netlink = Netlink()
    try:
        link = netlink.link(interface)
        if link is not None:
            netlink.delete(link.index)
    finally:
        netlink.close()
    return True

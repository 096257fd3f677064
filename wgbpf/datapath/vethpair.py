"""The interface of the xdp data path: one end of a veth pair, whose far end carries the egress program.

What is routed into the near end arrives at the far end's XDP program; what is redirected to the far end
arrives on the near end. Frames that the controller sends on either end take the same ways.
"""

import contextlib
import errno
import os
import re
import socket
import struct
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from . import abi, ethtool
from .interface import DataPathError, UnsupportedError
from .netlink import Netlink

_IFF_NOARP, _IFF_MULTICAST = 0x80, 0x1000
_FAR_NAME = "wgbpf%d"
_FAR_NAMED = re.compile(r"wgbpf\d+")
_FAR_MTU = 9000
_QUEUE_PACKETS = 1000
_ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_ETHERNET = struct.Struct(">6s6sH")
_INDEX = struct.Struct("=I")
_SYSCTL = Path("/proc/sys/net")


def is_ours(ipr: Any, index: int) -> bool:
    """Whether a link is the near end of a pair that a VethPair made."""
    near = next(iter(ipr.link("get", index=index)))
    if near.get_attr("IFLA_LINK") is None or near.get_attr("IFLA_LINK_NETNSID") is not None:
        return False
    far = next(iter(ipr.link("get", index=near.get_attr("IFLA_LINK"))))
    return _FAR_NAMED.fullmatch(far.get_attr("IFLA_IFNAME")) is not None


class VethPair:
    """`create` makes it, down; `delete` removes both ends."""

    def __init__(self, netlink: Netlink, name: str) -> None:
        self._netlink = netlink
        self.name = name
        self.far_name = ""
        self.near = self.far = 0
        self.near_mac = self.far_mac = bytes(6)
        self._to_far: socket.socket | None = None
        self._to_near: socket.socket | None = None

    def create(self, mtu: int) -> None:
        """Raises DataPathError with nothing left behind."""
        try:
            self._netlink.run(
                lambda ipr: ipr.link("add", ifname=self.name, kind="veth", peer={"ifname": _FAR_NAME})
            )
        except NetlinkError as error:
            if error.code == errno.EPERM:
                raise UnsupportedError("creating a veth pair needs root (CAP_NET_ADMIN)") from error
            raise DataPathError(f"creating {self.name} (veth): {error.args[1]}") from error
        try:
            self._find()
            self._set_up(mtu)
            self._open_sockets()
        except (OSError, NetlinkError) as error:
            self.delete()
            raise DataPathError(f"setting up {self.name}: {error}") from error

    def adopt(self) -> None:
        """Take over a pair that an earlier process left. Raises DataPathError."""
        self._find()
        self._open_sockets()

    def _find(self) -> None:
        self.near = self._netlink.index(self.name)

        def describe(ipr: Any) -> tuple[int, str, bytes, bytes]:
            near = next(iter(ipr.link("get", index=self.near)))
            far = next(iter(ipr.link("get", index=near.get_attr("IFLA_LINK"))))
            macs = [bytes.fromhex(m.get_attr("IFLA_ADDRESS").replace(":", "")) for m in (near, far)]
            return far["index"], far.get_attr("IFLA_IFNAME"), macs[0], macs[1]

        self.far, self.far_name, self.near_mac, self.far_mac = self._netlink.run(describe)

    def _set_up(self, mtu: int) -> None:
        # XDP must see finished packets: whole checksums, no segments to come. GRO gives wg0 the NAPI that
        # redirected frames need.
        for feature in (ethtool.TX_CHECKSUM, ethtool.TSO, ethtool.GSO):
            ethtool.set(self.name, feature, False)
        ethtool.set(self.name, ethtool.GRO, True)
        for name in (self.name, self.far_name):
            _sysctl(f"ipv6/conf/{name}/addr_gen_mode", "1")
        # Outer packets are routed as if they were forwarded from the far end.
        _sysctl(f"ipv4/conf/{self.far_name}/forwarding", "1")
        _sysctl(f"ipv6/conf/{self.far_name}/forwarding", "1")
        # But it has no address, and its multicast reports would arrive on wg0 from nowhere.
        _sysctl(f"ipv6/conf/{self.far_name}/disable_ipv6", "1")

        def configure(ipr: Any) -> None:
            mask = _IFF_NOARP | _IFF_MULTICAST
            ipr.link("set", index=self.near, flags=_IFF_NOARP, change=mask, mtu=mtu, txqlen=_QUEUE_PACKETS)
            ipr.link("set", index=self.far, flags=_IFF_NOARP, change=mask, mtu=_FAR_MTU)
            # Back-pressure: without a queue a burst overflows veth's ring.
            ipr.tc("replace", "pfifo", index=self.near, handle=0x10000, limit=_QUEUE_PACKETS)
            ipr.link("set", index=self.far, state="up")

        self._netlink.run(configure)

    def _open_sockets(self) -> None:
        self._to_far = _packet_socket(self.name)
        self._to_near = _packet_socket(self.far_name)

    def delete(self) -> None:
        """Never raises; the interface may be gone already."""
        for sock in (self._to_far, self._to_near):
            if sock is not None:
                sock.close()
        self._to_far = self._to_near = None
        if self.near:
            index, self.near = self.near, 0
            with contextlib.suppress(NetlinkError):
                self._netlink.run(lambda ipr: ipr.link("del", index=index))

    def release(self) -> None:
        """Close what this process holds; the interfaces stay."""
        self.near = 0
        self.delete()

    # --- frames of the controller ---

    def transmit(self, local_index: int, packet: bytes) -> bool:
        """To the egress program: seal an inner packet (empty: keepalive) under this session."""
        target = self.far_mac[:2] + _INDEX.pack(local_index)
        head = _ETHERNET.pack(target, self.near_mac, abi.CONTROL_ETHERTYPE)
        return self._to_far is not None and _send(self._to_far, head + packet)

    def deliver(self, packet: bytes) -> bool:
        """An inner packet into wg0, for the stack."""
        ethertype = _ETHERTYPE.get(packet[0] >> 4, 0)
        head = _ETHERNET.pack(self.near_mac, self.far_mac, ethertype)
        return self.deliver_frame(head + packet)

    def deliver_frame(self, frame: bytes) -> bool:
        return self._to_near is not None and _send(self._to_near, frame)

    def ring_overflows(self) -> int:
        """Redirected frames that wg0's ring had no room for."""
        with contextlib.suppress(OSError):
            counts = ethtool.statistics(self.far_name)
            return sum(n for name, n in counts.items() if name.endswith("xdp_xmit_errors"))
        return 0


def _packet_socket(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    sock.bind((interface, 0))
    return sock


def _send(sock: socket.socket, frame: bytes) -> bool:
    try:
        sock.send(frame)
        return True
    except OSError as error:
        if error.errno in (errno.ENETDOWN, errno.ENXIO, errno.ENOBUFS, errno.EMSGSIZE, errno.ENODEV):
            return False
        raise


def _sysctl(path: str, value: str) -> None:
    target = _SYSCTL / path
    if target.parent.is_dir():
        with open(os.fspath(target), "w", encoding="ascii") as file:
            file.write(value)

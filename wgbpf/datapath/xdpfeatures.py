"""Asks the kernel what XDP a NIC's driver can do (netdev generic netlink family, Linux 6.3)."""

import os
import socket
import struct

_NETLINK_GENERIC = 16
_NLMSGHDR = struct.Struct("=IHHII")
_GENLMSGHDR = struct.Struct("=BBH")
_ATTR = struct.Struct("=HH")
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2

_GENL_ID_CTRL = 0x10
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2

_NETDEV_CMD_DEV_GET = 1
_NETDEV_A_DEV_IFINDEX, _NETDEV_A_DEV_XDP_FEATURES = 1, 3
_NETDEV_XDP_ACT_BASIC = 1
_NETDEV_XDP_ACT_REDIRECT = 2


REDIRECT_TARGET = 4
"""The driver sends frames that XDP redirects to it (NETDEV_XDP_ACT_NDO_XMIT)."""


def online_cpus() -> int:
    """One more than the highest CPU that runs."""
    return max(os.sched_getaffinity(0)) + 1


def native_xdp(ifindex: int) -> bool | None:
    """Whether the driver runs XDP programs natively and redirects; None when the kernel does not say."""
    features = xdp_features(ifindex)
    wanted = _NETDEV_XDP_ACT_BASIC | _NETDEV_XDP_ACT_REDIRECT
    return None if features is None else features & wanted == wanted


def xdp_features(ifindex: int) -> int | None:
    """Bits of NETDEV_XDP_ACT_*; None when the kernel does not say (before Linux 6.3)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as sock:
        sock.settimeout(2.0)
        family = _ask(
            sock, _GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, _attribute(_CTRL_ATTR_FAMILY_NAME, b"netdev\0")
        )
        if family is None or _CTRL_ATTR_FAMILY_ID not in family:
            return None
        number = int.from_bytes(family[_CTRL_ATTR_FAMILY_ID], "little")
        request = _attribute(_NETDEV_A_DEV_IFINDEX, struct.pack("=I", ifindex))
        device = _ask(sock, number, _NETDEV_CMD_DEV_GET, request)
    if device is None or _NETDEV_A_DEV_XDP_FEATURES not in device:
        return None
    return int.from_bytes(device[_NETDEV_A_DEV_XDP_FEATURES], "little")


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTR.pack(_ATTR.size + len(value), kind) + value + bytes(-len(value) % 4)


def _ask(sock: socket.socket, family: int, command: int, attributes: bytes) -> dict[int, bytes] | None:
    """The attributes of one reply; None when the kernel answers with an error."""
    body = _GENLMSGHDR.pack(command, 1, 0) + attributes
    sock.send(_NLMSGHDR.pack(_NLMSGHDR.size + len(body), family, _NLM_F_REQUEST, 1, 0) + body)
    reply = sock.recv(65_536)
    length, kind, *_ = _NLMSGHDR.unpack_from(reply)
    if kind == _NLMSG_ERROR:
        return None
    found: dict[int, bytes] = {}
    offset = _NLMSGHDR.size + _GENLMSGHDR.size
    while offset + _ATTR.size <= min(length, len(reply)):
        size, attribute = _ATTR.unpack_from(reply, offset)
        if size < _ATTR.size:
            break
        found[attribute & 0x3FFF] = reply[offset + _ATTR.size : offset + size]
        offset += size + 3 & ~3
    return found

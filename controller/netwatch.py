"""Follows what others do to links, addresses and routes (rtnetlink(7) multicast groups)."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

_NETLINK_ROUTE = 0
_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR, _RTMGRP_IPV4_ROUTE = 0x10, 0x40
_RTMGRP_IPV6_IFADDR, _RTMGRP_IPV6_ROUTE = 0x100, 0x400
_GROUPS = _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_IFADDR | _RTMGRP_IPV6_ROUTE
_HEADER = struct.Struct("=IHHII")
_RTM_NEWLINK, _RTM_DELLINK, _RTM_NEWADDR, _RTM_DELADDR = 16, 17, 20, 21
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_SETTLE = 0.05


@dataclass(slots=True)
class Changes:
    """What has changed since the last call; which link or address is for the callee to look up."""

    links: bool = False
    addresses: bool = False
    routes: bool = False


class NetWatch:
    """Calls back once for a burst of changes, a moment after its first message."""

    def __init__(self, changed: Callable[[Changes], None]) -> None:
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._seen = Changes()
        self._settling: asyncio.TimerHandle | None = None
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _NETLINK_ROUTE
        )
        self._socket.bind((0, _GROUPS))
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        if self._settling is not None:
            self._settling.cancel()

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    self._note(self._socket.recv(65_536))
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    # ENOBUFS: messages were lost, so anything may have changed.
                    self._seen = Changes(links=True, addresses=True, routes=True)
        if self._settling is None and self._seen != Changes():
            self._settling = self._loop.call_later(_SETTLE, self._settled)

    def _note(self, data: bytes) -> None:
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            self._seen.links |= kind in (_RTM_NEWLINK, _RTM_DELLINK)
            self._seen.addresses |= kind in (_RTM_NEWADDR, _RTM_DELADDR)
            self._seen.routes |= kind in (_RTM_NEWROUTE, _RTM_DELROUTE)
            offset += max(_HEADER.size, length + 3 & ~3)

    def _settled(self) -> None:
        self._settling = None
        seen, self._seen = self._seen, Changes()
        self._changed(seen)

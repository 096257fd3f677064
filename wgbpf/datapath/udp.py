"""The two UDP sockets of an interface, IPv4 and IPv6 on one port.

Replies leave from the address and interface that the request arrived on; the outer DS byte travels in
control messages both ways; nothing is sent with DF set (the protocol has no path MTU discovery).
"""

import errno
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from ..protocol.addresses import Endpoint, Local, Path
from . import reuseport

_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DONT = 0
_IP_PKTINFO = 8
_SO_MARK = 36
_UDP_SEGMENT = 103
_UDP_GRO = 104
_PKTINFO4 = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")
_INT = struct.Struct("=i")
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO6.size) + socket.CMSG_SPACE(_INT.size)
_BUFFER_BYTES = 4 << 20
_RANDOM_PORT_TRIES = 32

MAX_DATAGRAM = 65_535

Received = tuple[bytes, Path, int]
"""Datagram, where it came from and arrived, outer DS byte."""
_Ancillary = list[tuple[int, int, bytes]]


class UdpSockets:
    """Both sockets, or IPv4 alone where the machine has no IPv6."""

    def __init__(self, port: int, fwmark: int, queues: int = 1) -> None:
        """Bind both families to `port` (0: any that is free for both). Raises OSError.

        With several queues, `more` are sockets on the same port, to which the kernel spreads sessions.
        """
        self._ancillary: dict[tuple[Local, int], _Ancillary] = {}
        self.more: list[tuple[socket.socket, socket.socket | None]] = []
        tries = _RANDOM_PORT_TRIES if port == 0 else 1
        for attempt in range(tries):
            self.v4 = _open(socket.AF_INET, port, fwmark)
            self.port: int = self.v4.getsockname()[1]
            try:
                self.v6 = _open(socket.AF_INET6, self.port, fwmark)
                break
            except OSError as error:
                if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    self.v6 = None
                    break
                self.v4.close()
                if error.errno != errno.EADDRINUSE or attempt == tries - 1:
                    raise
        try:
            self._add_queues(fwmark, queues)
        except OSError:
            self.close()
            raise

    def _add_queues(self, fwmark: int, queues: int) -> None:
        if queues == 1:
            return
        for first in (self.v4, self.v6):
            if first is not None:
                reuseport.share(first)
        for _ in range(1, queues):
            v4 = _open(socket.AF_INET, self.port, fwmark, shared=True)
            self.more.append((v4, None))
            if self.v6 is not None:
                self.more[-1] = v4, _open(socket.AF_INET6, self.port, fwmark, shared=True)
        reuseport.steer([self.v4, *(v4 for v4, _ in self.more)])
        if self.v6 is not None:
            reuseport.steer([self.v6, *(v6 for _, v6 in self.more if v6 is not None)])

    @classmethod
    def rebind(cls, old: "UdpSockets | None", port: int, fwmark: int) -> "UdpSockets":
        """Sockets in place of `old`. Raises OSError with `old` (or its like) still in use."""
        if old is not None and old.port == port:
            # Only the mark changes: the port is ours, so it must be freed first.
            old.close()
        try:
            new = cls(port, fwmark)
        except OSError:
            if old is not None and old.port == port:
                old.__init__(port, 0)  # type: ignore[misc]
            raise
        if old is not None:
            old.close()
        return new

    v4: socket.socket
    v6: socket.socket | None

    @property
    def queues(self) -> list[tuple[socket.socket, socket.socket | None]]:
        """The sockets of each queue; the first are `v4` and `v6`."""
        return [(self.v4, self.v6), *self.more]

    def _all(self) -> list[socket.socket]:
        return [sock for pair in self.queues for sock in pair if sock is not None]

    def use_offloads(self, gso: bool = True, gro: bool = True) -> tuple[bool, bool]:
        """Ask for UDP_GRO on receive; returns whether sends may use UDP_SEGMENT, and whether GRO is on."""
        try:
            for sock in self._all() if gso else ():
                sock.getsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT)
        except OSError:
            gso = False
        try:
            for sock in self._all() if gro else ():
                sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        except OSError:
            gro = False
        return gso, gro

    def files(self) -> list[int]:
        return [s.fileno() for s in (self.v4, self.v6) if s is not None]

    def close(self) -> None:
        for sock in self._all():
            sock.close()

    def receive(self, fd: int, limit: int) -> Iterator[Received]:
        """Up to `limit` datagrams that are waiting on one of the sockets."""
        sock = self.v4 if fd == self.v4.fileno() else self.v6
        assert sock is not None
        for _ in range(limit):
            try:
                data, ancillary, flags, source = sock.recvmsg(MAX_DATAGRAM, _ANCILLARY, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error about an earlier send: it concerns no datagram here
                continue
            if not flags & socket.MSG_TRUNC:
                yield data, *_origin(source, ancillary)

    def send(self, data: bytes, path: Path, ds: int = 0) -> bool:
        """Send one datagram; False when the kernel refuses it even from another source address."""
        remote, local = path.remote, path.local
        if isinstance(remote.address, IPv4Address):
            sock: socket.socket | None = self.v4
            target: tuple[str, int] | tuple[str, int, int, int] = (str(remote.address), remote.port)
        else:
            sock = self.v6
            target = (str(remote.address), remote.port, 0, remote.scope)
        if sock is None:
            return False
        try:
            sock.sendmsg([data], self._control(remote, local, ds), 0, target)
            return True
        except OSError as error:
            # The address that we were reached on is gone: let routing choose.
            if local is None or error.errno not in (errno.EINVAL, errno.ENETUNREACH, errno.ENODEV):
                return False
        try:
            sock.sendmsg([data], self._control(remote, None, ds), 0, target)
        except OSError:
            return False
        return True

    def _control(self, remote: Endpoint, local: Local | None, ds: int) -> _Ancillary:
        if local is None:
            return _ds_control(remote, ds) if ds else []
        key = (local, ds)
        control = self._ancillary.get(key)
        if control is None:
            if len(self._ancillary) > 4096:
                self._ancillary.clear()
            control = self._ancillary[key] = _local_control(local) + (_ds_control(remote, ds) if ds else [])
        return control


def _ds_control(remote: Endpoint, ds: int) -> _Ancillary:
    if isinstance(remote.address, IPv4Address):
        return [(socket.IPPROTO_IP, socket.IP_TOS, _INT.pack(ds))]
    return [(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _INT.pack(ds))]


def _local_control(local: Local) -> _Ancillary:
    if isinstance(local.address, IPv4Address):
        packed = _PKTINFO4.pack(local.ifindex, local.address.packed, bytes(4))
        return [(socket.IPPROTO_IP, _IP_PKTINFO, packed)]
    packed = _PKTINFO6.pack(local.address.packed, local.ifindex)
    return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed)]


def _origin(source: tuple[str, int] | tuple[str, int, int, int], ancillary: _Ancillary) -> tuple[Path, int]:
    local: Local | None = None
    ds = 0
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            ifindex, address, _ = _PKTINFO4.unpack_from(value)
            local = Local(IPv4Address(address), ifindex)
        elif level == socket.IPPROTO_IP and kind == socket.IP_TOS:
            ds = value[0]
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            address, ifindex = _PKTINFO6.unpack_from(value)
            local = Local(IPv6Address(address), ifindex)
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_TCLASS:
            ds = _INT.unpack_from(value)[0]
    if len(source) == 4:
        return Path(Endpoint(IPv6Address(source[0].partition("%")[0]), source[1], source[3]), local), ds
    return Path(Endpoint(IPv4Address(source[0]), source[1]), local), ds


def _open(family: socket.AddressFamily, port: int, fwmark: int, shared: bool = False) -> socket.socket:
    # Blocking: a full send buffer delays the sender instead of losing its packet.
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
            anywhere = "0.0.0.0"
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
            anywhere = "::"
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        if fwmark:
            sock.setsockopt(socket.SOL_SOCKET, _SO_MARK, fwmark)
        if shared:
            reuseport.share(sock)
        sock.bind((anywhere, port))
    except OSError:
        sock.close()
        raise
    return sock

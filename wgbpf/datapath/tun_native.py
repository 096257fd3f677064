"""The `tun` data path over the native pump: C threads carry packets, Python only hears of events.

Importing this module raises ImportError where the extension was not built.
"""

import os
from collections.abc import Sequence
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..native._pump import Pump
from ..protocol.actions import PeerEntry, Session, Traffic
from ..protocol.addresses import Address, Endpoint, Local, Path
from ..protocol.allowedips import AllowedIps, Network
from .interface import (
    Active,
    Confirmed,
    Counters,
    DataDrop,
    DataPathError,
    Direction,
    Event,
    HandshakeReceived,
    InterfaceGone,
    InterfaceSpec,
    NeedsSession,
    Roamed,
)
from .netlink import Netlink
from .tunbase import TunBase

_EVENTS_A_TURN = 256
_NS = 1_000_000_000

_CPUS_A_QUEUE = 2
_MOST_QUEUES = 8

_COSTS = {
    "TSO": "a system call for each TCP packet sent",
    "USO": "a system call for each UDP packet to and from the interface",
    "UDP GSO": "a system call for each packet sent",
    "UDP GRO": "a system call for each packet received",
}
_CRYPTO_COSTS = {
    "AVX2": " (the CPU lacks AVX-512 with IFMA, with which it takes about 0.6 of the time)",
    "OpenSSL": " (our own needs AVX2, and takes 0.4 to 0.7 of the time)",
}

_RECEIVE, _TRANSMIT = Direction.RECEIVE, Direction.TRANSMIT

DROPS: Final = (
    (_RECEIVE, DataDrop.BAD_LENGTH),
    (_RECEIVE, DataDrop.UNKNOWN_INDEX),
    (_RECEIVE, DataDrop.KEY_EXPIRED),
    (_RECEIVE, DataDrop.BAD_TAG),
    (_RECEIVE, DataDrop.REPLAY),
    (_RECEIVE, DataDrop.BAD_INNER_PACKET),
    (_RECEIVE, DataDrop.FORBIDDEN_SOURCE),
    (_RECEIVE, DataDrop.BAD_ECN),
    (_RECEIVE, DataDrop.INTERFACE_FULL),
    (_RECEIVE, DataDrop.QUEUE_FULL),
    (_TRANSMIT, DataDrop.BAD_INNER_PACKET),
    (_TRANSMIT, DataDrop.KEY_EXPIRED),
    (_TRANSMIT, DataDrop.NO_ROUTE),
    (_TRANSMIT, DataDrop.NO_ENDPOINT),
    (_TRANSMIT, DataDrop.SEND_FAILED),
    (_TRANSMIT, DataDrop.QUEUE_FULL),
)
"""In the order of `enum count` in native/pump.h, behind four totals."""
_FIRST_DROP = 4


class Kind(IntEnum):
    """`enum event_kind` in native/pump.h."""

    HANDSHAKE = 0
    NEEDS_SESSION = 1
    CONFIRMED = 2
    ROAMED = 3
    ACTIVE = 4
    GONE = 5
    NO_ROUTE = 6


class NativeTunDataPath(TunBase):
    name = "tun"
    offloads = True

    def __init__(self, netlink: Netlink) -> None:
        super().__init__(netlink)
        self._pump: Pump | None = None
        self._allowed_ips = AllowedIps()
        self._send_failed = 0
        self._gro = False

    # --- life ---

    def open(self, spec: InterfaceSpec) -> None:
        super().open(spec)
        assert self._tun is not None
        crypto = "OpenSSL" if "simd" in self._without else None
        self._pump = Pump(tuple(self._tun.fds), True, self._tun.uso, crypto)
        self._pump.set_mtu(spec.mtu)

    def _queue_count(self, spec: InterfaceSpec) -> int:
        cpus = len(os.sched_getaffinity(0))
        return spec.queues or max(1, min(cpus // _CPUS_A_QUEUE, _MOST_QUEUES))

    def close(self) -> None:
        if self._pump is not None:
            self._pump.stop()
        super().close()

    def bind(self, listen_port: int, fwmark: int) -> int:
        assert self._pump is not None
        # The threads hold the old sockets.
        self._pump.stop()
        try:
            return super().bind(listen_port, fwmark)
        finally:
            if self._udp is not None:
                gso, self._gro = self._udp.use_offloads(
                    "gso" not in self._without, "gro" not in self._without
                )
                files = ((v4.fileno(), -1 if v6 is None else v6.fileno()) for v4, v6 in self._udp.queues)
                self._pump.start(tuple(files), gso, self._gro)

    def set_mtu(self, mtu: int) -> None:
        if self._pump is not None:
            self._pump.set_mtu(mtu)

    # --- events ---

    def files(self) -> list[int]:
        return [] if self._pump is None else [self._pump.event_fd]

    def poll(self, fd: int) -> list[Event]:
        assert self._pump is not None
        events: list[Event] = []
        waiting: dict[int, list[bytes]] = {}
        for _ in range(_EVENTS_A_TURN):
            taken = self._pump.take()
            if taken is None:
                break
            kind, number, data = taken[:3]
            if kind == Kind.NEEDS_SESSION:
                waiting.setdefault(number, []).append(data)
            elif kind == Kind.NO_ROUTE:
                self.refuse(data)
            else:
                events.append(_event(*taken))
        return [*events, *(NeedsSession(number, tuple(packets)) for number, packets in waiting.items())]

    # --- peers and sessions ---

    def set_peer(self, entry: PeerEntry) -> None:
        assert self._pump is not None
        self._pump.add_peer(entry.peer)
        self.set_endpoint(entry.peer, entry.path)
        before = dict.fromkeys(self._allowed_ips.of(entry.peer))
        wanted = dict.fromkeys(entry.allowed_ips)
        for network in before:
            if network not in wanted:
                self._remove(network, entry.peer)
        for network in wanted:
            if network not in before:
                self._allowed_ips.insert(network, entry.peer)
                self._pump.insert(network.network_address.packed, network.prefixlen, entry.peer)

    def _remove(self, network: Network, peer: int) -> None:
        assert self._pump is not None
        if self._allowed_ips.remove(network, peer):
            self._pump.remove(network.network_address.packed, network.prefixlen)

    def set_endpoint(self, peer: int, path: Path | None) -> None:
        assert self._pump is not None
        if path is None:
            self._pump.set_endpoint(peer, b"", 0, 0, b"", 0)
            return
        local = b"" if path.local is None else path.local.address.packed
        ifindex = 0 if path.local is None else path.local.ifindex
        remote = path.remote
        self._pump.set_endpoint(peer, remote.address.packed, remote.port, remote.scope, local, ifindex)

    def remove_peer(self, peer: int) -> None:
        assert self._pump is not None
        for network in list(self._allowed_ips.of(peer)):
            self._remove(network, peer)
        self._pump.remove_peer(peer)

    def install(self, session: Session) -> None:
        self.guard.installed(session)
        assert self._pump is not None
        self._pump.install(
            session.peer,
            session.local_index,
            session.remote_index,
            bytes(session.send_key),
            bytes(session.receive_key),
            int(session.created * _NS),
            session.initiator,
        )

    def restrict(self, local_index: int) -> None:
        assert self._pump is not None
        self._pump.restrict(local_index)

    def retire(self, local_index: int) -> None:
        self.guard.retired(local_index)
        assert self._pump is not None
        self._pump.retire(local_index)

    def transmit(self, local_index: int, packets: Sequence[bytes]) -> None:
        assert self._pump is not None
        for packet in packets:
            self._pump.transmit(local_index, packet)

    # --- facts ---

    def collect(self) -> list[Traffic]:
        assert self._pump is not None
        return [_traffic(row) for row in self._pump.collect()]

    def counters(self) -> Counters:
        assert self._pump is not None
        counts = self._pump.counts()
        rx_packets, rx_bytes, tx_packets, tx_bytes = counts[:_FIRST_DROP]
        drops: dict[tuple[Direction, str], int] = {
            (way, reason.value): n
            for (way, reason), n in zip(DROPS, counts[_FIRST_DROP : _FIRST_DROP + len(DROPS)], strict=True)
        }
        drops[_TRANSMIT, DataDrop.SEND_FAILED.value] += self._send_failed
        return Counters(
            {_RECEIVE: rx_packets, _TRANSMIT: tx_packets},
            {_RECEIVE: rx_bytes, _TRANSMIT: tx_bytes},
            self._with_guard(drops),
        )

    def info(self) -> dict[str, str]:
        assert self._pump is not None
        assert self._tun is not None
        have = {
            "TSO": self._tun.tso,
            "USO": self._tun.uso,
            "UDP GSO": self._pump.gso,
            "UDP GRO": self._gro,
        }
        families = "IPv4 and IPv6" if self._udp is not None and self._udp.v6 is not None else "IPv4 only"
        crypto = self._pump.crypto
        return {
            "pump": f"native, {len(self._tun.fds)} {'queue' if len(self._tun.fds) == 1 else 'queues'}",
            "crypto": crypto + _CRYPTO_COSTS.get(crypto, ""),
            "offloads": ", ".join(name for name, there in have.items() if there) or "none",
            "missing": "; ".join(f"{name}: {_COSTS[name]}" for name, there in have.items() if not there),
            "sockets": families,
        }

    def _drop(self, direction: Direction, reason: DataDrop) -> None:
        if (direction, reason) != (_TRANSMIT, DataDrop.SEND_FAILED):
            raise DataPathError(f"{reason} is counted by the pump")
        self._send_failed += 1


def _traffic(row: tuple[int, ...]) -> Traffic:
    """A row of Pump.collect: number, two totals of bytes and two of packets, six stamps in ns, counter."""
    sent, received, data_sent, data_received, unanswered_sent, unanswered_received = (
        stamp / _NS if stamp else None for stamp in row[5:11]
    )
    number, rx_bytes, tx_bytes, rx_packets, tx_packets = row[:5]
    return Traffic(
        number,
        rx_bytes,
        tx_bytes,
        rx_packets,
        tx_packets,
        sent,
        received,
        data_sent,
        data_received,
        unanswered_sent,
        unanswered_received,
        row[11],
    )


def _event(
    kind: int, number: int, data: bytes, remote: bytes, port: int, scope: int, local: bytes, ifindex: int
) -> Event:
    match kind:
        case Kind.HANDSHAKE:
            return HandshakeReceived(data, _path(remote, port, scope, local, ifindex))
        case Kind.CONFIRMED:
            return Confirmed(number)
        case Kind.ROAMED:
            return Roamed(number, _path(remote, port, scope, local, ifindex))
        case Kind.ACTIVE:
            return Active()
        case _:
            return InterfaceGone()


def _path(remote: bytes, port: int, scope: int, local: bytes, ifindex: int) -> Path:
    return Path(Endpoint(_address(remote), port, scope), Local(_address(local), ifindex) if local else None)


def _address(raw: bytes) -> Address:
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)

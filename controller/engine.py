"""The core and a data path, wired together on the event loop.

Everything that can happen ends in a call of the core and in carrying out the actions it returns; then the
one timer is set to the core's next deadline.
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import replace

from wgbpf.config.keys import short_key
from wgbpf.datapath.interface import (
    Active,
    Confirmed,
    DataPath,
    Direction,
    Event,
    GuardLimits,
    HandshakeReceived,
    InterfaceGone,
    NeedsSession,
    Roamed,
)
from wgbpf.protocol.actions import (
    Action,
    DeliverPacket,
    Dropped,
    HandshakeEnded,
    HandshakeResult,
    InstallSession,
    RemovePeer,
    RestrictSession,
    RetireSession,
    Role,
    SendDatagram,
    SetEndpoint,
    SetPeer,
    Transmit,
)
from wgbpf.protocol.changes import DeviceChange
from wgbpf.protocol.device import Device
from wgbpf.protocol.drops import Drop
from wgbpf.protocol.messages import COOKIE_REPLY_SIZE

from .guarding import Guarding
from .timestamps import TimestampStore

log = logging.getLogger("wgbpf")

_COLLECT_DELAY = 1.0
_ASLEEP = 2.0
"""CLOCK_BOOTTIME ran this much ahead of CLOCK_MONOTONIC: the machine was suspended (seconds)."""


def boot_time() -> float:
    """CLOCK_BOOTTIME, seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_offset_ns() -> int:
    """Unix time in ns at CLOCK_BOOTTIME zero."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class BindError(Exception):
    """The UDP port or mark could not be applied; nothing was changed."""


class Engine:
    """Owns the device and the data path while they run."""

    def __init__(
        self,
        device: Device,
        datapath: DataPath,
        timestamps: TimestampStore,
        limits: GuardLimits | None = None,
    ) -> None:
        self.device = device
        self.datapath = datapath
        self.guarding = Guarding(device, datapath, limits or GuardLimits(), boot_time)
        self._timestamps = timestamps
        device.set_timestamp_floor(timestamps.floor_ns)
        self.gone = asyncio.Event()
        self.drops: Counter[tuple[Direction, Drop]] = Counter()
        self.handshakes: Counter[tuple[Role, HandshakeResult]] = Counter()
        self.cookie_replies = 0
        self._loop = asyncio.get_running_loop()
        self._watched: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: float | None = None
        self._collecting: asyncio.TimerHandle | None = None
        self._working = False
        self._requested_port: int | None = None
        self._suspended_for = self._sleep_clock()

    # --- life ---

    def start(self) -> None:
        """Begin to serve; the data path is open and bound."""
        self.datapath.ready()
        self.watch()

    def watch(self) -> None:
        """Wait on the data path's descriptors, which may have changed."""
        self._unwatch()
        self._watched = self.datapath.files()
        for fd in self._watched:
            self._loop.add_reader(fd, self._readable, fd)

    def stop(self) -> None:
        self._unwatch()
        self.guarding.stop()
        for handle in (self._timer, self._collecting):
            if handle is not None:
                handle.cancel()
        self._timer = self._collecting = None

    def _unwatch(self) -> None:
        for fd in self._watched:
            self._loop.remove_reader(fd)
        self._watched = []

    # --- configuration ---

    def configure(self, change: DeviceChange) -> None:
        """Apply a change whole. Raises BindError or TooManyPeers with nothing applied."""
        port, mark = self._rebind(change)
        self.device.set_wall_clock(wall_offset_ns())
        change = replace(change, listen_port=port, fwmark=mark)
        actions = self.device.configure(change, boot_time())
        # Before they are carried out: a new key is not judged by the old one.
        self.guarding.refresh()
        self.carry_out(actions)

    def _rebind(self, change: DeviceChange) -> tuple[int, int]:
        """Port and mark after the change. Asking again for `any port` keeps the one we have."""
        device = self.device
        wanted = self._requested_port if change.listen_port is None else change.listen_port
        mark = device.fwmark if change.fwmark is None else change.fwmark
        same_port = self._requested_port is not None and wanted in (self._requested_port, device.listen_port)
        if same_port and mark == device.fwmark:
            return device.listen_port, mark
        # The sockets are about to be closed: the loop must not wait on them meanwhile.
        self._unwatch()
        try:
            port = self.datapath.bind(device.listen_port if same_port else wanted or 0, mark)
        except OSError as error:
            raise BindError(f"UDP port {wanted}: {error.strerror}") from error
        finally:
            self.watch()
        self._requested_port = wanted or 0
        return port, mark

    def set_up(self, up: bool) -> None:
        """The interface was taken up or down."""
        self.carry_out(self.device.set_up(up, boot_time()))

    def set_mtu(self, mtu: int) -> None:
        self.device.set_mtu(mtu)
        self.datapath.set_mtu(mtu)

    # --- what happens ---

    def _readable(self, fd: int) -> None:
        self._woke()
        for event in self.datapath.poll(fd):
            self._event(event)

    def _event(self, event: Event) -> None:
        now = boot_time()
        match event:
            case HandshakeReceived(datagram, path):
                self.carry_out(self.device.receive(datagram, path, now))
                self.guarding.look_at_load()
                self._work_soon()
            case NeedsSession(peer, packets):
                self.carry_out(self.device.stage(peer, packets, now))
            case Confirmed(local_index):
                self.carry_out(self.device.confirmed(local_index, now))
            case Roamed(peer, path):
                self.carry_out(self.device.roamed(peer, path))
                log.debug("%s: endpoint is %s now", self.peer_name(peer), path.remote)
            case Active():
                if self._collecting is None:
                    self._collecting = self._loop.call_later(_COLLECT_DELAY, self.collect)
            case InterfaceGone():
                self.gone.set()

    def _work_soon(self) -> None:
        """Handshakes wait for a turn of the loop, so that data is served in between."""
        if self.device.backlog and not self._working:
            self._working = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._working = False
        self.carry_out(self.device.handle_handshakes(boot_time()))
        self._work_soon()

    def collect(self) -> None:
        """Take over what the data path did by itself."""
        if self._collecting is not None:
            self._collecting.cancel()
            self._collecting = None
        self.carry_out(self.device.report(self.datapath.collect(), boot_time()))

    def _tick(self) -> None:
        self._timer = self._timer_due = None
        self._woke()
        # A deadline may rest on stamps that are up to a second old.
        self.collect()
        self.carry_out(self.device.tick(boot_time()))

    def _woke(self) -> None:
        self.device.set_wall_clock(wall_offset_ns())
        asleep = self._sleep_clock()
        if asleep - self._suspended_for > _ASLEEP:
            log.info("the machine was suspended: all session keys are wiped")
            self.carry_out(self.device.suspended())
            self.guarding.refresh()
        self._suspended_for = asleep

    @staticmethod
    def _sleep_clock() -> float:
        return boot_time() - time.monotonic()

    # --- actions ---

    def carry_out(self, actions: list[Action]) -> None:
        """In order; then set the timer."""
        self._timestamps.reserve(self.device.greatest_timestamp_ns)
        for action in actions:
            self._carry_out(action)
        due = self.device.next_deadline()
        if due == self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_due = due
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - boot_time()), self._tick)

    def _carry_out(self, action: Action) -> None:
        match action:
            case SendDatagram():
                self.cookie_replies += len(action.data) == COOKIE_REPLY_SIZE and action.ds == 0
                self.datapath.send(action)
            case Transmit(local_index, packets):
                self.datapath.transmit(local_index, packets)
            case InstallSession(session):
                self.datapath.install(session)
            case RetireSession(local_index):
                self.datapath.retire(local_index)
            case RestrictSession(local_index):
                self.datapath.restrict(local_index)
            case SetPeer(entry):
                self.datapath.set_peer(entry)
            case SetEndpoint(peer, path):
                self.datapath.set_endpoint(peer, path)
            case RemovePeer(peer):
                self.datapath.remove_peer(peer)
            case Dropped(reason, received, _, packet):
                self.drops[Direction.RECEIVE if received else Direction.TRANSMIT, reason] += 1
                if packet:
                    self.datapath.refuse(packet)
                self._log_drop(action)
            case HandshakeEnded(peer, role, result):
                self.handshakes[role, result] += 1
                log.info("%s: handshake %s (%s)", self.peer_name(peer), result.replace("_", " "), role)
            case DeliverPacket():
                raise AssertionError("the core delivers packets only where no data path does")

    def _log_drop(self, drop: Dropped) -> None:
        if log.isEnabledFor(logging.DEBUG):
            who = "" if drop.peer is None else f"{self.peer_name(drop.peer)}: "
            log.debug("%sdropped: %s", who, drop.reason)

    def peer_name(self, number: int) -> str:
        key = self.device.public_key_of(number)
        return "peer(gone)" if key is None else f"peer({short_key(key)})"

"""One WireGuard interface from start to end: what is created, in which order, and undone in reverse."""

import asyncio
import errno
import logging
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

from wgbpf.config.errors import ConfigError
from wgbpf.config.settings import Settings
from wgbpf.datapath import leftover
from wgbpf.datapath.choose import adoptable, make_data_path
from wgbpf.datapath.interface import Budget, DataPath, DataPathError, GuardLimits, InterfaceSpec
from wgbpf.datapath.netlink import Netlink
from wgbpf.launch import EXIT_OK, STATE_DIRECTORY, ControlError, LaunchSpec, Outcome, control_path, uapi_path
from wgbpf.protocol.constants import DEFAULT_MTU
from wgbpf.protocol.device import Device
from wgbpf.protocol.indices import IndexAllocator
from wgbpf.protocol.ratelimiter import RateLimiter

from . import addressing, configuration, uapi
from .configuration import Configuration
from .control import ControlServer
from .engine import BindError, Engine
from .exporter import Exporter
from .follow import Follower, default_mtu
from .inotify import DeletionWatch
from .netwatch import NetWatch
from .status import Facts
from .timestamps import TimestampStore
from .uapi_server import UapiServer

log = logging.getLogger("wgbpf")


class Daemon:
    """`start` either serves or raises with everything undone; `run` waits for the end."""

    def __init__(self, spec: LaunchSpec, settings: Settings) -> None:
        self._spec = spec
        self._settings = settings
        self._stack = AsyncExitStack()
        self._ended = asyncio.Event()
        self._nics: list[str] = []
        self._notes: list[str] = []

    async def start(self) -> Outcome:
        """Raises ConfigError, DataPathError, BindError or OSError."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return Outcome(EXIT_OK, notes=tuple(self._notes))

    async def run(self) -> None:
        """Until a signal, `detach`, or the interface or its socket is gone."""
        try:
            gone = asyncio.create_task(self._engine.gone.wait())
            ended = asyncio.create_task(self._ended.wait())
            await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
            log.info("ending: %s", "the interface is gone" if gone.done() else "asked to")
            gone.cancel()
            ended.cancel()
        finally:
            await self._stack.aclose()

    async def _start(self) -> None:
        spec = self._spec
        config = configuration.read(spec)
        self._notes += config.notes
        netlink = Netlink()
        self._stack.callback(netlink.close)
        leftover.remove_half_made(spec.interface)
        if netlink.link(spec.interface) is not None and not adoptable(spec.interface):
            raise DataPathError(f"interface {spec.interface} exists already: choose another with --interface")
        for nic in spec.nics:
            netlink.index(nic)
        datapath, mtu = self._open(netlink, config)
        self._engine = self._make_engine(datapath)
        self._stack.callback(self._engine.stop)
        self._engine.device.set_mtu(mtu)
        self._engine.configure(config.change)
        self._facts = Facts(self._engine, spec.interface, self._nics, config.names)
        await self._serve()
        if spec.bring_up:
            self._notes += addressing.bring_up(netlink, datapath.ifindex, config.file)
        mtu_is_ours = bool(spec.nics) and (config.file is None or config.file.interface.mtu is None)
        self._follower = Follower(self._engine, netlink, self._nics, mtu_is_ours)
        self._stack.callback(NetWatch(self._follower.changed).close)
        log.info("serving on UDP port %d (%s)", self._engine.device.listen_port, datapath.name)

    def _open(self, netlink: Netlink, config: Configuration) -> tuple[DataPath, int]:
        spec, settings = self._spec, self._settings
        links = [link for nic in spec.nics if (link := netlink.link(nic)) is not None]
        configured = None if config.file is None else config.file.interface.mtu
        mtu = configured or default_mtu([link.mtu for link in links]) or DEFAULT_MTU
        peers = 0 if config.file is None else len(config.file.peers)
        request = InterfaceSpec(
            spec.interface,
            mtu,
            spec.nics,
            spec.mode or settings.mode,
            spec.replace,
            peers,
            spec.guard or settings.guard,
            spec.queues or settings.queues,
        )
        datapath, notes = make_data_path(spec.datapath or settings.datapath, request, netlink)
        self._notes += notes
        self._stack.callback(datapath.close)
        self._nics += spec.nics
        return datapath, mtu

    def _make_engine(self, datapath: DataPath) -> Engine:
        settings = self._settings
        indices = IndexAllocator(
            os.urandom, settings.index_prefix, settings.index_prefix_bits, datapath.slot_bits
        )
        for index in datapath.live_indices():
            indices.reserve(index)
        limits = _limits(settings)
        # Whom the guard lets through with a cookie must not meet a smaller budget behind it.
        limiter = RateLimiter(rate=limits.verified.rate, burst=limits.verified.burst)
        device = Device(os.urandom, indices, offload=True, limiter=limiter)
        # Up only when the interface is: the follower looks.
        device.set_up(False, 0.0)
        stamps = TimestampStore(STATE_DIRECTORY / f"{self._spec.interface}.tai64n")
        return Engine(device, datapath, stamps, limits)

    async def _serve(self) -> None:
        name = self._spec.interface
        server = UapiServer(uapi_path(name), lambda request: uapi.answer(self._engine, request))
        await server.start()
        self._stack.push_async_callback(server.stop)
        self._end_with_socket(server)
        verbs = {
            "status": lambda _: self._facts.status(),
            "nics": lambda _: self._nics,
            "attach": self._attach,
            "detach": self._detach,
            "reload": lambda _: self._reload(),
            "stop": lambda _: self._ended.set(),
        }
        control = ControlServer(control_path(name), verbs)
        await control.start()
        self._stack.push_async_callback(control.stop)
        self._export()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        self._engine.start()

    def _end_with_socket(self, server: UapiServer) -> None:
        loop = asyncio.get_running_loop()
        watch = DeletionWatch(server.path)

        def check() -> None:
            if watch.is_gone():
                self._ended.set()

        loop.add_reader(watch.fd, check)
        self._stack.callback(watch.close)
        self._stack.callback(loop.remove_reader, watch.fd)

    # --- metrics ---

    def _export(self) -> None:
        wanted = self._spec.metrics or self._settings.metrics_listen
        if wanted == "off":
            return
        snapshot = self._facts.for_threads(asyncio.get_running_loop())
        try:
            exporter = Exporter(wanted, snapshot, self._settings.metrics_peers)
        except OSError as error:
            if self._spec.metrics is not None or error.errno != errno.EADDRINUSE:
                raise DataPathError(f"metrics on {wanted}: {error.strerror}") from error
            self._notes.append(f"no metrics: {wanted} is in use; choose another with --metrics ADDR:PORT")
            return
        self._stack.callback(exporter.stop)

    # --- verbs of the control socket ---

    def _attach(self, request: dict[str, Any]) -> None:
        nic = str(request.get("nic"))
        try:
            self._engine.datapath.attach_nic(nic, request.get("replace") is True)
        except DataPathError as error:
            raise ControlError(str(error)) from error
        self._nics.append(nic)
        self._nics_changed()

    def _detach(self, request: dict[str, Any]) -> None:
        nic = str(request.get("nic"))
        try:
            self._engine.datapath.detach_nic(nic)
        except DataPathError as error:
            raise ControlError(str(error)) from error
        self._nics.remove(nic)
        self._nics_changed()

    def _nics_changed(self) -> None:
        self._engine.watch()
        self._engine.guarding.refresh()
        self._follower.nics_changed()

    def _reload(self) -> list[str]:
        try:
            config = configuration.read(self._spec)
            self._engine.configure(config.change)
        except (ConfigError, BindError) as error:
            self._facts.reloaded(ok=False)
            raise ControlError(f"the running configuration stays as it was: {error}") from error
        self._facts.reloaded(ok=True, names=config.names)
        return list(config.notes)

    def _reload_on_signal(self) -> None:
        try:
            self._reload()
            log.info("configuration read again")
        except ControlError as error:
            log.error("reload: %s", error)


def _limits(settings: Settings) -> GuardLimits:
    return GuardLimits(
        Budget(settings.guard_rate, settings.guard_burst),
        Budget(settings.guard_verified_rate, settings.guard_verified_burst),
        settings.guard_load_rate,
    )

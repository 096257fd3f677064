"""What the controller tells about itself: a snapshot for metrics, and JSON for `wgbpf status`."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from wgbpf import __version__
from wgbpf.config.keys import encode_key
from wgbpf.datapath.interface import Direction
from wgbpf.metrics.snapshot import CORE_DROPS, PeerSample, Snapshot
from wgbpf.protocol.actions import HandshakeResult, Role

from .engine import Engine, boot_time

_THREAD_TIMEOUT = 8.0
_NS = 1_000_000_000


class Facts:
    """`nics` is the live list of the daemon."""

    def __init__(self, engine: Engine, interface: str, nics: list[str], names: dict[bytes, str]) -> None:
        self._engine = engine
        self._interface = interface
        self._nics = nics
        self._names = names
        self._started = time.time()
        self._reload_ok = True
        self._reload_time = self._started

    def reloaded(self, ok: bool, names: dict[bytes, str] | None = None) -> None:
        self._reload_ok = ok
        if ok:
            self._reload_time = time.time()
        if names is not None:
            self._names = names

    def snapshot(self) -> Snapshot:
        """Only on the event loop."""
        engine, device = self._engine, self._engine.device
        engine.collect()
        counters, guard = engine.datapath.counters(), engine.datapath.guard.state()
        return Snapshot(
            interface=self._interface,
            datapath=engine.datapath.name,
            info=engine.datapath.info(),
            nics=tuple(self._nics),
            public_key="" if device.public_key is None else encode_key(device.public_key),
            listen_port=device.listen_port,
            fwmark=device.fwmark,
            mtu=device.mtu,
            up=device.is_up,
            packets=counters.packets,
            bytes=counters.bytes,
            drops=self._drops(dict(counters.drops)),
            handshakes={(role, end): engine.handshakes[role, end] for role, end in _HANDSHAKE_ENDS},
            cookie_replies=engine.cookie_replies,
            under_load=device.under_load(boot_time()) or guard.under_load,
            guard=guard,
            backlog=device.backlog,
            sessions=device.session_count,
            reload_ok=self._reload_ok,
            reload_time=self._reload_time,
            wall_ns=time.time_ns(),
            peers=tuple(
                PeerSample(
                    encode_key(peer.public_key),
                    self._names.get(peer.public_key, ""),
                    "" if peer.endpoint is None else str(peer.endpoint),
                    peer.rx_bytes,
                    peer.tx_bytes,
                    peer.last_handshake_ns,
                    peer.persistent_keepalive,
                    peer.allowed_ips,
                )
                for peer in device.peers()
            ),
        )

    def _drops(self, drops: dict[tuple[Direction, str], int]) -> dict[tuple[Direction, str], int]:
        """Those of the data path and of the core under one name each; every name from the start."""
        for way, reason in CORE_DROPS:
            key = way, reason.value
            drops[key] = drops.get(key, 0) + self._engine.drops[way, reason]
        return drops

    def for_threads(self, loop: asyncio.AbstractEventLoop) -> Callable[[], Snapshot]:
        """The snapshot for a thread that is not the event loop's. Raises TimeoutError."""

        def ask() -> Snapshot:
            answer: Future[Snapshot] = Future()

            def give() -> None:
                if not answer.set_running_or_notify_cancel():
                    return  # too late: nobody waits for it any more
                try:
                    answer.set_result(self.snapshot())
                except Exception as error:  # noqa: BLE001  # it belongs to the thread that asked
                    answer.set_exception(error)

            loop.call_soon_threadsafe(give)
            try:
                return answer.result(_THREAD_TIMEOUT)
            except TimeoutError:
                answer.cancel()
                raise

        return ask

    def status(self) -> dict[str, Any]:
        """For `wgbpf status`: wg's JSON keys where wg has them."""
        s = self.snapshot()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started": self._started,
            "interface": s.interface,
            "up": s.up,
            "mtu": s.mtu,
            "nics": list(s.nics),
            "dataPath": s.datapath,
            "info": dict(s.info),
            "publicKey": s.public_key,
            "listenPort": s.listen_port,
            "fwmark": s.fwmark,
            "sessions": s.sessions,
            "underLoad": s.under_load,
            "guard": {
                "on": s.guard.on,
                "text": s.guard.text,
                "underLoad": s.guard.under_load,
                "cookiesSent": s.guard.cookies_sent,
                "refused": dict(s.guard.refused),
                "memory": s.guard.memory,
            },
            "packets": dict(s.packets),
            "bytes": dict(s.bytes),
            "drops": [
                {"direction": d, "reason": reason, "count": n} for (d, reason), n in s.drops.items() if n
            ],
            "handshakes": [{"role": r, "result": e, "count": n} for (r, e), n in s.handshakes.items()],
            "peers": {
                p.public_key: {
                    "name": p.name,
                    "endpoint": p.endpoint,
                    "latestHandshake": p.last_handshake_ns // _NS,
                    "transferRx": p.rx_bytes,
                    "transferTx": p.tx_bytes,
                    "persistentKeepalive": p.persistent_keepalive,
                    "allowedIps": [str(network) for network in p.allowed_ips],
                }
                for p in s.peers
            },
        }


_HANDSHAKE_ENDS = (
    (Role.INITIATOR, HandshakeResult.COMPLETED),
    (Role.INITIATOR, HandshakeResult.TIMED_OUT),
    (Role.RESPONDER, HandshakeResult.COMPLETED),
    (Role.RESPONDER, HandshakeResult.UNCONFIRMED),
)

"""What a high load changes: opening moves to other CPUs, sealing to kernel threads."""

import time

from . import abi, kthreads, xdpfeatures
from .abi import Count
from .napi import NapiThreads
from .xdpmaps import XdpMaps

STEER_ABOVE = 300
"""Packets in 10 ms: of one session, above which another CPU opens them; of all, above which threads seal."""
_WINDOWS = 100
"""A second's."""
_CPU_QUEUE = 2048


def set_up_steering(maps: XdpMaps, program_fd: int) -> None:
    """Needs a second CPU; without one everything stays where it arrives."""
    cpus = min(xdpfeatures.online_cpus(), abi.MAX_CPUS)
    for cpu in range(cpus):
        maps.set_cpu(cpu, _CPU_QUEUE, program_fd)
    kthreads.prefer(rf"cpumap/\d+/map:{maps.cpumap_number()}")
    maps.set_control("cpus", cpus)
    maps.set_control("steer_above", STEER_ABOVE if cpus > 1 else 0)


class Sealing:
    """Threads of the far end's NAPI, from the report of a high rate until a quarter of it."""

    def __init__(self, far_name: str, maps: XdpMaps) -> None:
        self._napi = NapiThreads(far_name)
        self._maps = maps
        # An earlier controller may have left them on.
        self.threaded = bool(maps.control("busy"))
        self._seen = 0, 0.0

    def busy(self) -> None:
        self.threaded = self._napi.switch(True)
        self._seen = self._maps.count(Count.TX_PACKETS), time.monotonic()

    def look(self) -> None:
        """To be called a second or more after the last time, while there is traffic."""
        if not self._maps.control("busy"):
            return
        sent, now = self._maps.count(Count.TX_PACKETS), time.monotonic()
        before, since = self._seen
        if now - since < 0.5:
            return
        self._seen = sent, now
        if (sent - before) / (now - since) < STEER_ABOVE * _WINDOWS / 4:
            self._napi.switch(False)
            self.threaded = False
            self._maps.set_control("busy", 0)

    def close(self) -> None:
        self._napi.close()

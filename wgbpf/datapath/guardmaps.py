"""What the controller writes into and reads from the maps of the guard, whatever program it runs in."""

import ctypes
import errno
import heapq
import time

from ..protocol.actions import Session
from ..protocol.constants import REJECT_AFTER_TIME
from ..protocol.messages import INITIATION_SIZE, RESPONSE_SIZE, MessageType
from . import abi
from .guardkeys import cookie_key, keyed_state, mac1_key
from .interface import Budget, GuardSettings
from .libbpf import Map
from .xdpmaps import Shared

_NS = 1_000_000_000
_PENDING = 30.0
"""Seconds that an initiation of ours may wait for its answer: the next one has another index."""
_SESSION = REJECT_AFTER_TIME + 10
_FILLED_BY_OTHERS = ("unverified", "verified", "duplicates")
_LEAST_LIVE = 65_536


def live_entries(peers: int) -> int:
    """Of the map of live indices: sessions and unanswered initiations of so many peers."""
    return max(_LEAST_LIVE, 1 << (8 * peers - 1).bit_length())


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LiveIndices:
    """Receiver indices that are ours; each is forgotten when its time is over, at the next change."""

    def __init__(self) -> None:
        self._map: Map | None = None
        self._until: dict[int, float] = {}
        self._due: list[tuple[float, int]] = []

    def use(self, map_: Map) -> None:
        """Keep it in this map from now on."""
        self._map = map_
        for index, until in self._until.items():
            self._write(index, until)

    def __len__(self) -> int:
        return len(self._until)

    def sent(self, datagram: bytes) -> None:
        """A handshake message of ours announces an index."""
        kind, size = int.from_bytes(datagram[:4], "little"), len(datagram)
        index = int.from_bytes(datagram[4:8], "little")
        if (kind, size) == (MessageType.INITIATION, INITIATION_SIZE):
            self._keep(index, _boot_time() + _PENDING)
        elif (kind, size) == (MessageType.RESPONSE, RESPONSE_SIZE):
            self._keep(index, _boot_time() + _SESSION)

    def installed(self, session: Session) -> None:
        self._keep(session.local_index, session.created + _SESSION)

    def adopted(self, index: int) -> None:
        """Of a session that an earlier process left; its age is not known here."""
        self._keep(index, _boot_time() + _SESSION)

    def retired(self, index: int) -> None:
        if self._until.pop(index, None) is not None and self._map is not None:
            self._map.delete(_key(index))

    def _keep(self, index: int, until: float) -> None:
        self._forget_until(_boot_time())
        self._write(index, until)
        self._until[index] = until
        heapq.heappush(self._due, (until, index))

    def _write(self, index: int, until: float) -> None:
        if self._map is None:
            return
        value = int(until * _NS).to_bytes(8, "little")
        try:
            self._map.update(_key(index), value)
        except OSError as error:
            if error.errno != errno.E2BIG or not self._due:
                raise
            self._forget_until(self._due[0][0])
            self._map.update(_key(index), value)

    def _forget_until(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            until, index = heapq.heappop(self._due)
            # An entry that was renewed or retired meanwhile has another time.
            if self._until.get(index) == until:
                self.retired(index)


class GuardMaps:
    """Settings are written to an entry that nobody reads, and then switched to."""

    def __init__(self, maps: dict[str, Map], live: LiveIndices | None = None) -> None:
        self._maps = maps
        self._control = Shared(maps["control"])
        self._load = Shared(maps["guard_load"])
        self.live = LiveIndices() if live is None else live
        self.live.use(maps["live"])

    def close(self) -> None:
        self._control.close()
        self._load.close()

    def set(self, settings: GuardSettings) -> None:
        copy = self._number("guard", 4) % abi.GUARD_COPIES
        self._maps["guards"].update(_key(copy), bytes(_packed(settings)))
        self.set_control("guard", copy + 1)

    def off(self) -> None:
        """Everything passes."""
        self.set_control("guard", 0)

    @property
    def on(self) -> bool:
        return self._number("guard", 4) != 0

    def loaded(self, until: float) -> None:
        self.set_control("loaded_until", int(until * _NS), 8)

    def under_load(self) -> bool:
        load = abi.GuardLoad.from_buffer_copy(self._load.view[: ctypes.sizeof(abi.GuardLoad)])
        return _boot_time() * _NS < max(load.until, self._number("loaded_until", 8))

    def set_nic(self, ifindex: int, by_redirect: bool) -> None:
        """How a NIC sends back what it received."""
        if by_redirect:
            self._maps["by_redirect"].update(_key(ifindex), _key(1))
        else:
            self._maps["by_redirect"].delete(_key(ifindex))

    def memory(self) -> int:
        """Bytes of what an attacker can fill; they are taken at the start."""
        return sum(self._maps[name].memory() for name in _FILLED_BY_OTHERS)

    def _number(self, name: str, size: int) -> int:
        offset = getattr(abi.Control, name).offset
        return int.from_bytes(self._control.view[offset : offset + size], "little")

    def set_control(self, name: str, value: int, size: int = 4) -> None:
        """In one store."""
        offset = getattr(abi.Control, name).offset
        words = self._control.view[offset : offset + size].cast("Q" if size == 8 else "I")
        words[0] = value
        words.release()


def _key(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _packed(settings: GuardSettings) -> abi.Guard:
    guard = abi.Guard()
    guard.mac1[:] = list(keyed_state(mac1_key(settings.public_key)))
    guard.cookie_key[:] = list(cookie_key(settings.public_key))
    secrets = [settings.cookie_secret]
    if settings.previous_cookie_secret is not None:
        secrets.append(settings.previous_cookie_secret)
    for place, secret in zip(guard.secret, secrets, strict=False):
        place[:] = list(keyed_state(secret))
    guard.secrets = len(secrets)
    guard.load_above = max(1, settings.limits.load_rate * abi.LOAD_WINDOW_NS // _NS)
    guard.unverified = _budget(settings.limits.unverified)
    guard.verified = _budget(settings.limits.verified)
    return guard


def _budget(budget: Budget) -> abi.Budget:
    cost = _NS // budget.rate
    return abi.Budget(cost, cost * budget.burst)

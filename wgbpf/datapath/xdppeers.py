"""Peers and sessions of the core in the maps of the XDP programs, also those that an earlier process left."""

import time
from dataclasses import replace

from ..protocol.actions import PeerEntry, Session, Traffic
from ..protocol.addresses import Path
from ..protocol.constants import REJECT_AFTER_TIME
from .peerslots import PeerSlots
from .xdpmaps import XdpMaps


def boot_time() -> float:
    """CLOCK_BOOTTIME in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class XdpPeers:
    """Peer numbers are the core's; positions in the maps ("slots") are bound to public keys."""

    def __init__(self, maps: XdpMaps) -> None:
        self._maps = maps
        self._slots = PeerSlots(maps.max_peers)
        self._session_slot: dict[int, int] = {}
        self._adopted: dict[int, int] = {}
        self._adopted_until = 0.0

    def peer(self, slot: int) -> int | None:
        return self._slots.peer(slot)

    # --- what an earlier process left ---

    def adopt(self) -> None:
        """Peers by their keys; sessions stay until they expire."""
        self._slots.adopt(self._maps.peer_keys())
        self._adopted = {s.local_index: s.peer for s in self._maps.all_sessions()}
        self._adopted_until = boot_time() + REJECT_AFTER_TIME

    def live_indices(self) -> list[int]:
        return list(self._adopted)

    def drop_unclaimed(self) -> None:
        """Peers that are not configured any more, and their sessions."""
        gone = set(self._slots.take_unclaimed())
        for slot in gone:
            self._maps.remove_peer(slot)
        for index in [index for index, slot in self._adopted.items() if slot in gone]:
            self._maps.clear_session(index)
            del self._adopted[index]

    def adopted(self) -> list[int]:
        """Peers that send with a session that the core does not know."""
        slots = (slot for slot in set(self._adopted.values()) if self._maps.sending(slot) is not None)
        return [peer for slot in slots if (peer := self._slots.peer(slot)) is not None]

    def _forget_adopted(self) -> None:
        """The programs refuse them by now; their keys need not stay in memory."""
        if self._adopted and boot_time() > self._adopted_until:
            for index in self._adopted.keys() - self._session_slot.keys():
                self._maps.clear_session(index)
            self._adopted.clear()

    # --- peers ---

    def set_peer(self, entry: PeerEntry) -> Path | None:
        """The path of an adopted peer, which may have roamed. Raises IndexError when there is no room."""
        slot = self._slots.slot(entry.peer)
        path = None
        if slot is None:
            slot, adopted = self._slots.claim(entry.peer, entry.public_key)
            if adopted:
                self._maps.adopt_peer(slot)
                path = self._maps.endpoint(slot)
            else:
                self._maps.add_peer(slot, entry.public_key)
            if path is None:
                self._maps.set_endpoint(slot, entry.path)
        self._maps.set_prefixes(slot, entry.allowed_ips)
        return path

    def set_endpoint(self, peer: int, path: Path | None) -> None:
        slot = self._slots.slot(peer)
        if slot is not None:
            self._maps.set_endpoint(slot, path)

    def remove_peer(self, peer: int) -> None:
        slot = self._slots.slot(peer)
        if slot is not None:
            self._maps.remove_peer(slot)
            self._slots.release(peer)

    # --- sessions ---

    def install(self, session: Session) -> None:
        slot = self._slots.slot(session.peer)
        if slot is None:
            raise KeyError(f"a session for a peer that was not set: {session.peer}")
        self._forget_adopted()
        self._maps.write_session(session, slot)
        self._session_slot[session.local_index] = slot
        if session.initiator:
            self._maps.set_sending(slot, session.local_index)

    def stop_sending(self, local_index: int) -> None:
        slot = self._session_slot.get(local_index)
        if slot is not None and self._maps.has_peer(slot) and self._maps.sending(slot) == local_index:
            self._maps.set_sending(slot, None)

    def retire(self, local_index: int) -> None:
        if local_index in self._session_slot:
            self.stop_sending(local_index)
            self._maps.clear_session(local_index)
            del self._session_slot[local_index]

    # --- facts ---

    def collect(self) -> list[Traffic]:
        self._forget_adopted()
        reports = ((self._slots.peer(report.peer), report) for report in self._maps.collect())
        return [replace(report, peer=peer) for peer, report in reports if peer is not None]

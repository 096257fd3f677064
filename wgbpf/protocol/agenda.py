"""Deadlines of many peers, with the earliest at hand."""

import heapq


class Agenda:
    """A heap with lazy deletion: an entry counts only while it is the peer's latest."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._due: dict[int, float] = {}

    def set(self, peer: int, due: float | None) -> None:
        if due is None:
            self._due.pop(peer, None)
        elif self._due.get(peer) != due:
            self._due[peer] = due
            heapq.heappush(self._heap, (due, peer))

    def next(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[int]:
        """Peers whose deadline is now or past; they have none until set again."""
        peers: list[int] = []
        while (due := self.next()) is not None and due <= now:
            _, peer = heapq.heappop(self._heap)
            del self._due[peer]
            peers.append(peer)
        return peers

"""Which place in the maps belongs to which peer.

The core's peer numbers end with its process, the maps may not: places are bound to public keys.
"""


class PeerSlots:
    """Peer numbers of the core to positions in the maps, and back."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._slot: dict[int, int] = {}
        self._peer: dict[int, int] = {}
        self._unclaimed: dict[bytes, int] = {}
        self._free: list[int] = []
        self._next = 0

    def adopt(self, keys: dict[int, bytes]) -> None:
        """Positions that an earlier process gave to these public keys."""
        self._unclaimed = {key: slot for slot, key in keys.items()}
        self._next = max(keys, default=-1) + 1
        self._free = [slot for slot in range(self._next) if slot not in keys]

    def claim(self, peer: int, public_key: bytes) -> tuple[int, bool]:
        """The peer's position, and whether it was adopted. Raises IndexError when all are taken."""
        slot = self._unclaimed.pop(public_key, None)
        adopted = slot is not None
        if slot is None:
            if self._free:
                slot = self._free.pop()
            elif self._next < self._size:
                slot, self._next = self._next, self._next + 1
            else:
                raise IndexError(
                    f"this interface was opened for {self._size} peers: attach it again for more"
                )
        self._slot[peer], self._peer[slot] = slot, peer
        return slot, adopted

    def release(self, peer: int) -> None:
        slot = self._slot.pop(peer)
        del self._peer[slot]
        self._free.append(slot)

    def take_unclaimed(self) -> list[int]:
        """Positions of peers that are not configured any more; they are free now."""
        slots = list(self._unclaimed.values())
        self._unclaimed.clear()
        self._free += slots
        return slots

    def slot(self, peer: int) -> int | None:
        return self._slot.get(peer)

    def peer(self, slot: int) -> int | None:
        return self._peer.get(slot)

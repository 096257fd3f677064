"""Receiver indices: unpredictable, unique, optionally under a router's fixed prefix."""

from collections.abc import Callable


class IndicesExhausted(Exception):
    """No free slot was found: more sessions than `slot_bits` can tell apart."""


class IndexAllocator:
    """Hands out 32-bit indices.

    The top `prefix_bits` of each equal `prefix` (a router's number, for fleets). The low `slot_bits`
    are unique among live indices, so that a data path can use them as an array position; the bits
    say nothing about the peer.
    """

    def __init__(
        self, rand: Callable[[int], bytes], prefix: int = 0, prefix_bits: int = 0, slot_bits: int = 32
    ) -> None:
        if not 0 <= prefix_bits <= 16 or not 0 <= prefix < 1 << prefix_bits:
            raise ValueError("the index prefix has 0 to 16 bits and must fit them")
        self._rand = rand
        self._free_bits = 32 - prefix_bits
        self._high = prefix << self._free_bits
        slot_bits = min(slot_bits, self._free_bits)
        self._slot_mask = (1 << slot_bits) - 1
        self._slots: set[int] = set()

    def __len__(self) -> int:
        return len(self._slots)

    def allocate(self) -> int:
        """A new index; raises IndicesExhausted when the slots are as good as full."""
        for _ in range(1000):
            low = int.from_bytes(self._rand(4), "little") & ((1 << self._free_bits) - 1)
            slot = low & self._slot_mask
            if slot not in self._slots:
                self._slots.add(slot)
                return self._high | low
        raise IndicesExhausted(f"{len(self._slots)} sessions are live")

    def reserve(self, index: int) -> None:
        """Its slot is taken by a session that an earlier process made."""
        self._slots.add(index & self._slot_mask)

    def release(self, index: int) -> None:
        self._slots.discard(index & self._slot_mask)

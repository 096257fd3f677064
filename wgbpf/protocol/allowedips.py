"""Cryptokey routing (section 2): longest-prefix match from an inner address to a peer.

One dictionary per prefix length; a lookup tries the lengths in use, longest first. A prefix belongs to
one peer: inserting it for another moves it.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Network = IPv4Network | IPv6Network


class _Family:
    """The table of one address family; keys are the network number shifted right by the host bits."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._lengths: list[int] = []
        self._tables: dict[int, dict[int, int]] = {}

    def insert(self, number: int, length: int, peer: int) -> int | None:
        table = self._tables.get(length)
        if table is None:
            table = self._tables[length] = {}
            self._lengths = sorted(self._tables, reverse=True)
        key = number >> (self._bits - length)
        previous = table.get(key)
        table[key] = peer
        return previous

    def remove(self, number: int, length: int) -> None:
        table = self._tables[length]
        del table[number >> (self._bits - length)]
        if not table:
            del self._tables[length]
            self._lengths = sorted(self._tables, reverse=True)

    def lookup(self, number: int) -> int | None:
        for length in self._lengths:
            peer = self._tables[length].get(number >> (self._bits - length))
            if peer is not None:
                return peer
        return None


class AllowedIps:
    """Prefixes of all peers of a device; peers are small integers."""

    def __init__(self) -> None:
        self._v4 = _Family(32)
        self._v6 = _Family(128)
        self._of_peer: dict[int, dict[Network, None]] = {}

    def insert(self, network: Network, peer: int) -> int | None:
        """Give a prefix to a peer; returns the other peer that lost it, if one did."""
        previous = self._family(network).insert(int(network.network_address), network.prefixlen, peer)
        if previous is not None and previous != peer:
            del self._of_peer[previous][network]
        self._of_peer.setdefault(peer, {})[network] = None
        return previous if previous != peer else None

    def remove(self, network: Network, peer: int) -> bool:
        """Take a prefix from a peer; False when it is not that peer's."""
        if network not in self._of_peer.get(peer, ()):
            return False
        del self._of_peer[peer][network]
        self._family(network).remove(int(network.network_address), network.prefixlen)
        return True

    def remove_peer(self, peer: int) -> None:
        for network in list(self._of_peer.get(peer, ())):
            self.remove(network, peer)
        self._of_peer.pop(peer, None)

    def of(self, peer: int) -> Iterator[Network]:
        """The peer's prefixes in the order in which they were given."""
        return iter(self._of_peer.get(peer, ()))

    def owner(self, address: bytes) -> int | None:
        """The peer for a raw inner address of 4 or 16 bytes."""
        family = self._v4 if len(address) == 4 else self._v6
        return family.lookup(int.from_bytes(address, "big"))

    def lookup(self, address: IPv4Address | IPv6Address) -> int | None:
        return self.owner(address.packed)

    def _family(self, network: Network) -> _Family:
        return self._v4 if isinstance(network, IPv4Network) else self._v6

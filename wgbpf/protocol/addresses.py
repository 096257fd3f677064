"""Where a peer is, and by which of our own addresses it was reached."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A peer's outer address, UDP port and, for link-local IPv6, interface index."""

    address: Address
    port: int
    scope: int = 0

    def raw(self) -> bytes:
        """Address and big-endian port, the input of a cookie (section 5.4.7)."""
        return self.address.packed + self.port.to_bytes(2, "big")

    def __str__(self) -> str:
        if isinstance(self.address, IPv4Address):
            return f"{self.address}:{self.port}"
        scope = f"%{self.scope}" if self.scope else ""
        return f"[{self.address}{scope}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Local:
    """Our own address and interface that a peer's packet arrived on: the source of replies."""

    address: Address
    ifindex: int


@dataclass(frozen=True, slots=True)
class Path:
    """Both ends: whom to send to, and from where. `local` None leaves the source to the routing."""

    remote: Endpoint
    local: Local | None = None

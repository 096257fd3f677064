"""Configuration as one transaction, whoever asks for it: a file, the UAPI socket, the command line."""

from dataclasses import dataclass, field

from .addresses import Endpoint
from .allowedips import Network
from .crypto import Secret


@dataclass(frozen=True, slots=True)
class AllowedIpChange:
    network: Network
    remove: bool = False


@dataclass(frozen=True, slots=True)
class PeerChange:
    """None means: leave as it is."""

    public_key: bytes
    remove: bool = False
    update_only: bool = False
    preshared_key: Secret | None = None
    """The all-zero value takes the key away."""
    endpoint: Endpoint | None = None
    persistent_keepalive: int | None = None
    """Seconds; 0 is off."""
    replace_allowed_ips: bool = False
    allowed_ips: tuple[AllowedIpChange, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Applied whole or not at all. None means: leave as it is."""

    private_key: Secret | None = None
    """The all-zero value takes the key away."""
    listen_port: int | None = None
    fwmark: int | None = None
    replace_peers: bool = False
    peers: tuple[PeerChange, ...] = field(default=())

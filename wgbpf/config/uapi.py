"""The UAPI text protocol (https://www.wireguard.com/xplatform/): requests to changes, state to replies.

The whole request is read before anything is applied, so a SET is done whole or not at all.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from ..protocol.addresses import Endpoint
from ..protocol.allowedips import Network
from ..protocol.changes import AllowedIpChange, DeviceChange, PeerChange
from ..protocol.crypto import Secret
from . import values
from .keys import decode_hex_key

_NS = 1_000_000_000


class UapiError(Exception):
    """A request that is refused; `errno` is negative, as wg(8) expects it in a reply."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = -abs(number)


def reply(number: int) -> bytes:
    """The answer to a SET; 0 is success, a refusal is a negative errno."""
    return f"errno={number}\n\n".encode()


# --- SET ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _PeerDraft:
    public_key: bytes
    remove: bool = False
    update_only: bool = False
    preshared_key: Secret | None = None
    endpoint: Endpoint | None = None
    persistent_keepalive: int | None = None
    replace_allowed_ips: bool = False
    allowed_ips: list[AllowedIpChange] = field(default_factory=list)

    def finished(self) -> PeerChange:
        return PeerChange(
            self.public_key,
            self.remove,
            self.update_only,
            self.preshared_key,
            self.endpoint,
            self.persistent_keepalive,
            self.replace_allowed_ips,
            tuple(self.allowed_ips),
        )


@dataclass(slots=True)
class _DeviceDraft:
    private_key: Secret | None = None
    listen_port: int | None = None
    fwmark: int | None = None
    replace_peers: bool = False


def parse_set(request: bytes) -> DeviceChange:
    """The lines after `set=1`. Raises UapiError, and nothing else, for any bytes."""
    device = _DeviceDraft()
    peers: list[_PeerDraft] = []
    for raw in request.split(b"\n"):
        if not raw:
            continue
        key, value = _split(raw)
        try:
            if key == "public_key":
                peers.append(_PeerDraft(decode_hex_key(value)))
            elif peers:
                _set_peer(peers[-1], key, value)
            else:
                _set_device(device, key, value)
        except ValueError as error:
            raise UapiError(errno.EINVAL, f"{key}: {error}") from None
    return DeviceChange(
        device.private_key,
        device.listen_port,
        device.fwmark,
        device.replace_peers,
        tuple(peer.finished() for peer in peers),
    )


def _split(raw: bytes) -> tuple[str, str]:
    try:
        key, equals, value = raw.decode().partition("=")
    except UnicodeDecodeError:
        raise UapiError(errno.EINVAL, "not UTF-8 text") from None
    if not equals:
        raise UapiError(errno.EPROTO, "a line without `=`")
    return key, value


def _set_device(device: _DeviceDraft, key: str, value: str) -> None:
    match key:
        case "private_key":
            device.private_key = Secret(decode_hex_key(value))
        case "listen_port":
            device.listen_port = values.port(value)
        case "fwmark":
            device.fwmark = values.fwmark(value)
        case "replace_peers":
            device.replace_peers = _true(value)
        case _:
            raise ValueError("unknown key")


def _set_peer(peer: _PeerDraft, key: str, value: str) -> None:
    match key:
        case "remove":
            peer.remove = _true(value)
        case "update_only":
            peer.update_only = _true(value)
        case "preshared_key":
            peer.preshared_key = Secret(decode_hex_key(value))
        case "endpoint":
            peer.endpoint = values.literal_endpoint(value)
        case "persistent_keepalive_interval":
            peer.persistent_keepalive = values.number(value, 0, 65_535)
        case "replace_allowed_ips":
            peer.replace_allowed_ips = _true(value)
            peer.allowed_ips.clear()
        case "allowed_ip":
            network = values.network(value.removeprefix("-"))
            peer.allowed_ips.append(AllowedIpChange(network, remove=value.startswith("-")))
        case "protocol_version":
            if value != "1":
                raise ValueError("only version 1 is spoken")
        case _:
            raise ValueError("unknown key")


def _true(value: str) -> bool:
    if value != "true":
        raise ValueError("expected true")
    return True


# --- GET ----------------------------------------------------------------------------------------------


class PeerFacts(Protocol):
    """What a reply tells of a peer (protocol.device.PeerView has it)."""

    @property
    def public_key(self) -> bytes: ...
    @property
    def preshared_key(self) -> Secret: ...
    @property
    def endpoint(self) -> Endpoint | None: ...
    @property
    def last_handshake_ns(self) -> int: ...
    @property
    def rx_bytes(self) -> int: ...
    @property
    def tx_bytes(self) -> int: ...
    @property
    def persistent_keepalive(self) -> int: ...
    @property
    def allowed_ips(self) -> tuple[Network, ...]: ...


class DeviceFacts(Protocol):
    """What a reply tells of a device (protocol.device.Device has it)."""

    @property
    def private_key(self) -> Secret | None: ...
    @property
    def listen_port(self) -> int: ...
    @property
    def fwmark(self) -> int: ...
    def peers(self) -> Iterable[PeerFacts]: ...


def format_get(device: DeviceFacts) -> str:
    """The reply to `get=1`, in the order that wg(8) expects."""
    lines: list[str] = []
    if device.private_key:
        lines.append(f"private_key={bytes(device.private_key).hex()}")
    if device.listen_port:
        lines.append(f"listen_port={device.listen_port}")
    if device.fwmark:
        lines.append(f"fwmark={device.fwmark}")
    for peer in device.peers():
        lines += (
            f"public_key={peer.public_key.hex()}",
            f"preshared_key={bytes(peer.preshared_key).hex()}",
            "protocol_version=1",
        )
        if peer.endpoint is not None:
            lines.append(f"endpoint={peer.endpoint}")
        lines += (
            f"last_handshake_time_sec={peer.last_handshake_ns // _NS}",
            f"last_handshake_time_nsec={peer.last_handshake_ns % _NS}",
            f"tx_bytes={peer.tx_bytes}",
            f"rx_bytes={peer.rx_bytes}",
            f"persistent_keepalive_interval={peer.persistent_keepalive}",
        )
        lines += [f"allowed_ip={network}" for network in peer.allowed_ips]
    return "\n".join([*lines, "errno=0", "", ""])

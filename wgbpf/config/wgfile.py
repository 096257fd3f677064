"""The wg(8) configuration file, wg-quick(8)'s keys included.

As in wg(8): keys are case-insensitive, `#` begins a comment anywhere, an unknown key is an error. A
comment `# Name = ...` (or `# friendly_name = ...`) in a [Peer] names the peer.
"""

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from ..protocol.addresses import Endpoint
from ..protocol.allowedips import Network
from ..protocol.changes import AllowedIpChange, DeviceChange, PeerChange
from ..protocol.crypto import ZERO_KEY, Secret
from . import values
from .errors import ConfigError
from .keys import decode_key

_MAX_SIZE = 16 << 20
_NAME = re.compile(r"#\s*(?:name|friendly_name)\s*=\s*(.*\S)\s*", re.IGNORECASE)
_MTU_RANGE = (576, 65_535)


@dataclass(frozen=True, slots=True)
class Host:
    """A peer's endpoint that is given by name: to be looked up by the caller."""

    name: str
    port: int
    line: int


@dataclass(slots=True)
class InterfaceSection:
    private_key: Secret | None = None
    listen_port: int = 0
    fwmark: int = 0
    addresses: list[IPv4Interface | IPv6Interface] = field(default_factory=list)
    dns: list[str] = field(default_factory=list)
    mtu: int | None = None
    table: int | str = "auto"
    """`auto`, `off` or a table number."""
    pre_up: list[str] = field(default_factory=list)
    post_up: list[str] = field(default_factory=list)
    pre_down: list[str] = field(default_factory=list)
    post_down: list[str] = field(default_factory=list)
    save_config: bool = False


@dataclass(slots=True)
class PeerSection:
    line: int
    public_key: bytes = b""
    preshared_key: Secret | None = None
    endpoint: Endpoint | Host | None = None
    persistent_keepalive: int | None = None
    allowed_ips: dict[Network, int] = field(default_factory=dict)
    """Prefix to line."""
    name: str = ""


@dataclass(slots=True)
class WgFile:
    path: Path
    interface: InterfaceSection
    peers: list[PeerSection]

    def to_change(self, resolve: Callable[[Host], Endpoint]) -> DeviceChange:
        """The whole file as `wg setconf` would apply it. Raises ConfigError when a name is not found."""
        return DeviceChange(
            private_key=self.interface.private_key or Secret(ZERO_KEY),
            listen_port=self.interface.listen_port,
            fwmark=self.interface.fwmark,
            replace_peers=True,
            peers=tuple(self._peer_change(peer, resolve) for peer in self.peers),
        )

    def _peer_change(self, peer: PeerSection, resolve: Callable[[Host], Endpoint]) -> PeerChange:
        host = peer.endpoint
        try:
            endpoint = resolve(host) if isinstance(host, Host) else host
        except OSError as error:
            assert isinstance(host, Host)
            reason = f"{host.name!r} cannot be looked up: {error.strerror}"
            raise ConfigError(self.path, host.line, "Endpoint", reason) from error
        return PeerChange(
            peer.public_key,
            preshared_key=peer.preshared_key,
            endpoint=endpoint,
            persistent_keepalive=peer.persistent_keepalive,
            replace_allowed_ips=True,
            allowed_ips=tuple(AllowedIpChange(network) for network in peer.allowed_ips),
        )


def load(path: Path) -> tuple[WgFile, list[str]]:
    """The file and warnings about it. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        remedy = ": check the name" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError(path, None, None, f"{error.strerror}{remedy}") from error
    if len(data) > _MAX_SIZE:
        raise ConfigError(path, None, None, f"larger than {_MAX_SIZE >> 20} MiB: not a configuration file")
    parsed = parse(path, data)
    warnings = []
    if parsed.interface.private_key is not None and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        warnings.append(f"{path} holds a private key and others may read it: chmod 600 {path}")
    return parsed, warnings


def parse(path: Path, data: bytes) -> WgFile:
    """Raises ConfigError, and nothing else, for any bytes."""
    return _Parser(path).parse(data)


class _Parser:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 0
        self._interface: InterfaceSection | None = None
        self._peers: list[PeerSection] = []
        self._section: InterfaceSection | PeerSection | None = None
        self._seen: set[str] = set()

    def parse(self, data: bytes) -> WgFile:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            self._line = data[: error.start].count(b"\n") + 1
            raise self._error(None, "not UTF-8 text") from None
        for self._line, line in enumerate(text.split("\n"), 1):
            self._one_line(line)
        self._end_of_section()
        self._check_peers()
        return WgFile(self._path, self._interface or InterfaceSection(), self._peers)

    def _one_line(self, line: str) -> None:
        named = _NAME.fullmatch(line.strip())
        if named and isinstance(self._section, PeerSection):
            self._section.name = named[1]
        content = line.partition("#")[0].strip()
        if not content:
            return
        if "\0" in content:
            raise self._error(None, "a NUL byte: not a text file")
        if content.startswith("["):
            self._begin_section(content)
            return
        key, equals, value = (part.strip() for part in content.partition("="))
        if not equals:
            raise self._error(None, f"expected `Key = value`, not {content[:60]!r}")
        self._set(key, value)

    def _begin_section(self, heading: str) -> None:
        self._end_of_section()
        self._seen = set()
        match heading.lower():
            case "[interface]":
                # wg(8) takes several [Interface] sections as one.
                self._interface = self._interface or InterfaceSection()
                self._section = self._interface
            case "[peer]":
                self._section = PeerSection(self._line)
                self._peers.append(self._section)
            case _:
                raise self._error(None, f"unknown section {heading[:60]!r}: expected [Interface] or [Peer]")

    def _end_of_section(self) -> None:
        if isinstance(self._section, PeerSection) and not self._section.public_key:
            self._line = self._section.line
            raise self._error("PublicKey", "missing in this [Peer]")

    def _set(self, key: str, value: str) -> None:
        section = self._section
        if section is None:
            raise self._error(key, "stands before any [Interface] or [Peer]")
        ours, other = (
            (_INTERFACE_KEYS, _PEER_KEYS)
            if isinstance(section, InterfaceSection)
            else (_PEER_KEYS, _INTERFACE_KEYS)
        )
        lower = key.lower()
        if lower not in ours:
            where = "[Peer]" if ours is _INTERFACE_KEYS else "[Interface]"
            known = f"belongs into {where}" if lower in other else "unknown key"
            raise self._error(key, known)
        if not value and lower != "allowedips":
            raise self._error(key, "has no value")
        if lower in self._seen and lower not in _REPEATABLE:
            raise self._error(key, "given twice in this section")
        self._seen.add(lower)
        try:
            ours[lower](section, value, self._line)
        except ValueError as error:
            raise self._error(key, str(error)) from None

    def _check_peers(self) -> None:
        """A peer, and a prefix, may stand in the file once."""
        by_key: dict[bytes, int] = {}
        by_network: dict[Network, int] = {}
        for peer in self._peers:
            self._line = peer.line
            if peer.public_key in by_key:
                raise self._error("PublicKey", f"the peer of line {by_key[peer.public_key]} again")
            by_key[peer.public_key] = peer.line
            for network, line in peer.allowed_ips.items():
                if network in by_network:
                    self._line = line
                    raise self._error(
                        "AllowedIPs", f"{network} belongs to the peer of line {by_network[network]} already"
                    )
                by_network[network] = peer.line

    def _error(self, key: str | None, message: str) -> ConfigError:
        return ConfigError(self._path, self._line, key, message)


def _items(value: str) -> list[str]:
    return [item for item in (part.strip() for part in value.split(",")) if item]


def _endpoint(value: str, line: int) -> Endpoint | Host:
    name, port = values.split_endpoint(value)
    return values.endpoint_from(name, port) or Host(name, port, line)


def _boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError(f"expected true or false, not {value[:60]!r}")
    return value.lower() == "true"


def _table(value: str) -> int | str:
    lower = value.lower()
    return lower if lower in ("auto", "off") else values.number(value, 1, 2**32 - 1)


_Setter = Callable[..., None]


def _attribute(name: str, convert: Callable[[str], object]) -> _Setter:
    def set_it(section: object, value: str, line: int) -> None:
        setattr(section, name, convert(value))

    return set_it


def _list(name: str, convert: Callable[[str], object], split: bool = True) -> _Setter:
    def extend(section: object, value: str, line: int) -> None:
        getattr(section, name).extend(convert(item) for item in (_items(value) if split else [value]))

    return extend


def _set_endpoint(section: PeerSection, value: str, line: int) -> None:
    section.endpoint = _endpoint(value, line)


def _add_allowed_ips(section: PeerSection, value: str, line: int) -> None:
    for item in _items(value):
        section.allowed_ips[values.network(item.removeprefix("+"))] = line


_INTERFACE_KEYS: dict[str, _Setter] = {
    "privatekey": _attribute("private_key", lambda text: Secret(decode_key(text))),
    "listenport": _attribute("listen_port", values.port),
    "fwmark": _attribute("fwmark", values.fwmark),
    "address": _list("addresses", values.interface_address),
    "dns": _list("dns", str),
    "mtu": _attribute("mtu", lambda text: values.number(text, *_MTU_RANGE)),
    "table": _attribute("table", _table),
    "preup": _list("pre_up", str, split=False),
    "postup": _list("post_up", str, split=False),
    "predown": _list("pre_down", str, split=False),
    "postdown": _list("post_down", str, split=False),
    "saveconfig": _attribute("save_config", _boolean),
}
_PEER_KEYS: dict[str, _Setter] = {
    "publickey": _attribute("public_key", decode_key),
    "presharedkey": _attribute("preshared_key", lambda text: Secret(decode_key(text))),
    "endpoint": _set_endpoint,
    "persistentkeepalive": _attribute("persistent_keepalive", values.keepalive),
    "allowedips": _add_allowed_ips,
}
_REPEATABLE = {"address", "dns", "preup", "postup", "predown", "postdown", "allowedips"}

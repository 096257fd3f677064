"""From a configuration file, or from none, to what a controller starts with."""

import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from wgbpf.config import wgfile
from wgbpf.config.errors import ConfigError
from wgbpf.config.keys import decode_key, encode_key, genkey
from wgbpf.config.wgfile import Host, WgFile
from wgbpf.launch import CONFIG_DIRECTORY, LaunchSpec
from wgbpf.protocol.addresses import Endpoint
from wgbpf.protocol.changes import DeviceChange
from wgbpf.protocol.crypto import Secret

WG_DIRECTORY = Path("/etc/wireguard")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was asked for, and what the user should hear about it."""

    path: Path | None
    change: DeviceChange
    file: WgFile | None
    names: dict[bytes, str]
    notes: tuple[str, ...]


def configuration_path(spec: LaunchSpec) -> Path | None:
    """The file that `attach` reads; None: there is none and a kept key will do."""
    if spec.config is not None:
        return Path(spec.config)
    usual = WG_DIRECTORY / f"{spec.interface}.conf"
    return usual if usual.exists() else None


def read(spec: LaunchSpec) -> Configuration:
    """Raises ConfigError."""
    if not spec.bring_up:
        return Configuration(None, DeviceChange(listen_port=0), None, {}, ())
    path = configuration_path(spec)
    if path is None:
        return _without_file(spec.interface)
    file, warnings = wgfile.load(path)
    notes = [*warnings, *_ignored(file)]
    names = {peer.public_key: peer.name for peer in file.peers if peer.name}
    return Configuration(path, file.to_change(resolve), file, names, tuple(notes))


def resolve(host: Host) -> Endpoint:
    """Look a host name up. Raises OSError (socket.gaierror)."""
    found = socket.getaddrinfo(host.name, host.port, type=socket.SOCK_DGRAM)
    _, _, _, _, address = found[0]
    scope = int(address[3]) if len(address) == 4 else 0
    return Endpoint(ip_address(str(address[0]).partition("%")[0]), host.port, scope)


def _without_file(interface: str) -> Configuration:
    path = CONFIG_DIRECTORY / f"{interface}.key"
    notes = []
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as out:
            out.write(encode_key(genkey(os.urandom)) + "\n")
        notes.append(f"no configuration file: a private key was made and is kept in {path}")
    try:
        key = decode_key(path.read_text().strip())
    except (ValueError, OSError) as error:
        raise ConfigError(path, 1, "PrivateKey", str(error)) from error
    return Configuration(None, DeviceChange(private_key=Secret(key), listen_port=0), None, {}, tuple(notes))


def _ignored(file: WgFile) -> list[str]:
    """wg-quick's keys that `attach` does not act on."""
    interface = file.interface
    keys = {
        "DNS": interface.dns,
        "PreUp": interface.pre_up,
        "PostUp": interface.post_up,
        "PreDown": interface.pre_down,
        "PostDown": interface.post_down,
        "SaveConfig": interface.save_config,
    }
    return [f"{key} is for wg-quick and was left alone" for key, value in keys.items() if value]

"""/etc/wgbpf/wgbpf.toml: settings beyond WireGuard's. A table [interface.NAME] overrides the rest.

datapath = "auto"                  # auto, kernel, xdp, tun, tun-python
mode = "auto"                      # auto, native, generic: how XDP programs are attached
guard = "auto"                     # auto, on, off: XDP judges handshakes before the stack
guard_rate = 50                    # handshakes a second of one address without a cookie, and how many at once
guard_burst = 100
guard_verified_rate = 50           # the same with a cookie
guard_verified_burst = 100
guard_load_rate = 500              # handshakes a second without a cookie, above which all must have one
queues = 0                         # of the tun data path, 1 to 16; 0: as many as suit the CPUs
metrics_listen = "127.0.0.1:9586"  # or "off"
metrics_peers = 500                # peers with series of their own
log_level = "info"                 # debug, info, warning, error
index_prefix = 0                   # this router's number in the top bits of receiver indices
index_prefix_bits = 0
"""

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import ConfigError

_CHOICES = {
    "datapath": ("auto", "kernel", "xdp", "tun", "tun-python"),
    "mode": ("auto", "native", "generic"),
    "guard": ("auto", "on", "off"),
    "log_level": ("debug", "info", "warning", "error"),
}
_RANGES = {
    "queues": (0, 16),
    "metrics_peers": (0, 1_000_000),
    "index_prefix": (0, 65_535),
    "index_prefix_bits": (0, 16),
    "guard_rate": (1, 1_000_000),
    "guard_burst": (1, 1_000_000),
    "guard_verified_rate": (1, 1_000_000),
    "guard_verified_burst": (1, 1_000_000),
    "guard_load_rate": (10, 10_000_000),
}


@dataclass(frozen=True, slots=True)
class Settings:
    datapath: str = "auto"
    mode: str = "auto"
    guard: str = "auto"
    guard_rate: int = 50
    guard_burst: int = 100
    guard_verified_rate: int = 50
    guard_verified_burst: int = 100
    guard_load_rate: int = 500
    queues: int = 0
    metrics_listen: str = "127.0.0.1:9586"
    metrics_peers: int = 500
    log_level: str = "info"
    index_prefix: int = 0
    index_prefix_bits: int = 0


def load(path: Path, interface: str) -> Settings:
    """The defaults where the file is missing. Raises ConfigError."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError(path, None, None, reason or str(error)) from error
    return parse(path, text, interface)


def parse(path: Path, text: str, interface: str) -> Settings:
    """Raises ConfigError."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, None, None, str(error)) from error
    except RecursionError as error:
        raise ConfigError(path, None, None, "nested too deeply") from error
    tables = values.pop("interface", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigError(path, None, "interface", "expected tables [interface.NAME]")
    settings = _apply(path, text, Settings(), values)
    for name, table in tables.items():
        overridden = _apply(path, text, settings, table)
        if name == interface:
            settings = overridden
    if settings.index_prefix >= 1 << settings.index_prefix_bits:
        raise ConfigError(path, None, "index_prefix", f"does not fit {settings.index_prefix_bits} bits")
    return settings


def _apply(path: Path, text: str, settings: Settings, values: dict[str, Any]) -> Settings:
    known = {f.name: type(getattr(settings, f.name)) for f in fields(Settings)}
    for key, value in values.items():
        line = _line_of(text, key)
        if key not in known:
            raise ConfigError(path, line, key, f"unknown key: expected one of {', '.join(known)}")
        if type(value) is not known[key]:
            raise ConfigError(path, line, key, f"expected a value of type {known[key].__name__}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise ConfigError(path, line, key, f"expected one of {', '.join(_CHOICES[key])}")
        if key in _RANGES and not _RANGES[key][0] <= value <= _RANGES[key][1]:
            raise ConfigError(path, line, key, f"expected {_RANGES[key][0]} to {_RANGES[key][1]}")
    return replace(settings, **values)


def _line_of(text: str, key: str) -> int | None:
    """Where a key stands; tomllib does not tell."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.split("=")[0].strip().strip("\"'") == key:
            return number
    return None

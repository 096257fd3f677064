"""Single values of configuration files and requests. Each parser raises ValueError with what is expected."""

import re
from collections.abc import Callable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)

from ..protocol.addresses import Endpoint
from ..protocol.allowedips import Network

ScopeOf = Callable[[str], int]
"""Interface name to number; raises OSError (socket.if_nametoindex)."""

_DECIMAL = re.compile(r"[0-9]{1,10}")
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,8}")
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


def number(text: str, low: int, high: int) -> int:
    if not _DECIMAL.fullmatch(text) or not low <= int(text) <= high:
        raise ValueError(f"expected a number from {low} to {high}, not {_quoted(text)}")
    return int(text)


def port(text: str) -> int:
    return number(text, 0, 65_535)


def keepalive(text: str) -> int:
    """Seconds; `off` is 0."""
    return 0 if text.lower() == "off" else number(text, 0, 65_535)


def fwmark(text: str) -> int:
    """Decimal, hexadecimal with 0x, or `off`."""
    if text.lower() == "off":
        return 0
    if _HEX.fullmatch(text):
        return int(text, 16)
    return number(text, 0, 2**32 - 1)


def network(text: str) -> Network:
    """address or address/length; host bits are masked away."""
    address, slash, length = text.partition("/")
    try:
        if slash and not _DECIMAL.fullmatch(length):
            raise ValueError
        if "%" in address:
            raise ValueError
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"expected ADDRESS/LENGTH, not {_quoted(text)}") from None


def interface_address(text: str) -> IPv4Interface | IPv6Interface:
    """An address of our own with its prefix length."""
    try:
        if "%" in text or (text.partition("/")[1] and not _DECIMAL.fullmatch(text.partition("/")[2])):
            raise ValueError
        return ip_interface(text)
    except ValueError:
        raise ValueError(f"expected ADDRESS/LENGTH, not {_quoted(text)}") from None


def split_endpoint(text: str) -> tuple[str, int]:
    """host:port or [v6]:port, not looked up."""
    host, colon, port_text = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"expected HOST:PORT or [IPV6]:PORT, not {_quoted(text)}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError(f"only an IPv6 address stands in brackets, not {_quoted(host)}")
    elif ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: [{host}]:{port_text}")
    return host, number(port_text, 1, 65_535)


def literal_endpoint(text: str, scope_of: ScopeOf | None = None) -> Endpoint:
    """An endpoint given by address. Raises ValueError for a host name."""
    host, number_ = split_endpoint(text)
    endpoint = endpoint_from(host, number_, scope_of)
    if endpoint is None:
        raise ValueError(f"expected an address, not {_quoted(host)}")
    return endpoint


def endpoint_from(host: str, port_number: int, scope_of: ScopeOf | None = None) -> Endpoint | None:
    """None for a host name. Raises ValueError for what is neither address nor name."""
    address, percent, zone = host.partition("%")
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        if not _HOST_NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
            raise ValueError(f"expected a host name or an address, not {_quoted(host)}") from None
        return None
    if not percent:
        return Endpoint(parsed, port_number)
    if isinstance(parsed, IPv4Address) or not zone:
        raise ValueError(f"only an IPv6 address has a zone, not {_quoted(host)}")
    if _DECIMAL.fullmatch(zone):
        return Endpoint(parsed, port_number, int(zone) & 0xFFFFFFFF)
    if scope_of is None:
        raise ValueError(f"expected an interface number after %, not {_quoted(zone)}")
    return Endpoint(parsed, port_number, scope_of(zone))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")

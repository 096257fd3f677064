"""wgbpf: WireGuard at the network card."""

__version__ = "0.1.0"

"""The command line. `main` is the entry point of the `wgbpf` program."""

from .group import main

__all__ = ["main"]

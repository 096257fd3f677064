"""Answers one UAPI transaction from the engine's state."""

import errno
import logging

from wgbpf.config import uapi
from wgbpf.config.uapi import UapiError
from wgbpf.protocol.configuring import TooManyPeers

from .engine import BindError, Engine

log = logging.getLogger("wgbpf")


def answer(engine: Engine, request: bytes) -> bytes | None:
    """The reply, or None where the protocol says to hang up (neither get=1 nor set=1)."""
    first, _, rest = request.partition(b"\n")
    if first == b"get=1":
        if rest.strip(b"\n"):
            return uapi.reply(-errno.EINVAL)
        engine.collect()
        return uapi.format_get(engine.device).encode()
    if first != b"set=1":
        return None
    try:
        engine.configure(uapi.parse_set(rest))
    except UapiError as error:
        log.warning("configuration over the UAPI socket refused: %s", error)
        return uapi.reply(error.errno)
    except (BindError, TooManyPeers) as error:
        log.warning("configuration over the UAPI socket refused: %s", error)
        return uapi.reply(-errno.EADDRINUSE if isinstance(error, BindError) else -errno.ENOSPC)
    return uapi.reply(0)

"""The socket that wg(8) talks to: /var/run/wireguard/IF.sock (https://www.wireguard.com/xplatform/)."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("wgbpf")

_MAX_REQUEST = 64 << 20
_IDLE_TIMEOUT = 60.0
_END = b"\n\n"

Answer = Callable[[bytes], bytes | None]


class UapiServer:
    """Frames transactions; `answer` gives the reply to one, or None to hang up."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def start(self) -> None:
        """Take the path over; a socket nobody listens on any more is in nobody's way."""
        # wg(8) removes a socket that refuses it: none that does not listen yet may lie at the path.
        early = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        before = os.umask(0o022)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.umask(0o077)
            early.unlink(missing_ok=True)
            sock.bind(str(early))
            self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=_MAX_REQUEST)
            self._inode = early.stat().st_ino
            early.rename(self.path)
        except OSError:
            sock.close()
            early.unlink(missing_ok=True)
            raise
        finally:
            os.umask(before)

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(FileNotFoundError):
            # Somebody else's socket may lie there by now.
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            while True:
                request = await asyncio.wait_for(reader.readuntil(_END), _IDLE_TIMEOUT)
                reply = self._answer(request)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
        writer.close()

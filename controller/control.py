"""The control socket: one JSON object a line, answered by one JSON object (for `wgbpf` itself)."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wgbpf.launch import EXIT_FAILED, EXIT_USAGE, ControlError

log = logging.getLogger("wgbpf")

_LINE_LIMIT = 65_536
_IDLE_TIMEOUT = 30.0

Verb = Callable[[dict[str, Any]], Any]


class ControlServer:
    """`verbs` are plain functions of the request; what they raise as ControlError is the answer."""

    def __init__(self, path: Path, verbs: dict[str, Verb]) -> None:
        self._path = path
        self._verbs = verbs
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        before = os.umask(0o077)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=_LINE_LIMIT)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            while True:
                try:
                    line = await asyncio.wait_for(reader.readline(), _IDLE_TIMEOUT)
                except ValueError:
                    writer.write(_refusal("the request is too long", EXIT_USAGE))
                    break
                if not line:
                    break
                writer.write(self._answer(line))
                await writer.drain()
        writer.close()

    def _answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
            verb = self._verbs[request["verb"]]
        except (ValueError, KeyError, TypeError):
            return _refusal("the request is not understood", EXIT_USAGE)
        try:
            return json.dumps({"ok": True, "result": verb(request)}).encode() + b"\n"
        except ControlError as error:
            return _refusal(str(error), error.code)
        except Exception:
            log.exception("control request %s", request["verb"])
            return _refusal("internal error, see the log", EXIT_FAILED)


def _refusal(message: str, code: int) -> bytes:
    return json.dumps({"ok": False, "error": message, "code": code}).encode() + b"\n"

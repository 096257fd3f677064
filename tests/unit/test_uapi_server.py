"""The UAPI socket beside a wg(8) that tidies up what refuses it."""

import asyncio
import contextlib
import os
import socket
import threading
from pathlib import Path

from controller.uapi_server import UapiServer


def test_never_refuses_while_it_starts(tmp_path: Path) -> None:
    """`wg show` of another interface removes every socket that refuses it; ours must be there afterwards."""
    path = tmp_path / "wg0.sock"
    refused, done = [], threading.Event()

    def wg() -> None:
        while not done.is_set():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                try:
                    sock.connect(os.fspath(path))
                except FileNotFoundError:
                    pass
                except ConnectionRefusedError:
                    refused.append(path)

    async def start_and_stop() -> None:
        server = UapiServer(path, lambda request: request)
        await server.start()
        assert path.is_socket() and path.stat().st_mode & 0o777 == 0o700
        assert list(tmp_path.iterdir()) == [path]
        path.unlink()
        await server.stop()

    asker = threading.Thread(target=wg)
    asker.start()
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        for _ in range(1000):
            loop.run_until_complete(start_and_stop())
    done.set()
    asker.join()
    assert not refused


def test_takes_over_what_a_killed_one_left(tmp_path: Path) -> None:
    path = tmp_path / "wg0.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(os.fspath(path))

    async def ask() -> bytes:
        server = UapiServer(path, lambda request: b"was " + request)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"get=1\n\n")
        answer = await reader.readuntil(b"\n\n")
        writer.close()
        await server.stop()
        return answer

    assert asyncio.run(ask()) == b"was get=1\n\n"
    assert not path.exists()

"""Serves /metrics over HTTP in threads of its own."""

import io
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import make_wsgi_app

from wgbpf.metrics.collector import WgbpfCollector
from wgbpf.metrics.snapshot import Snapshot

_MAX_CLIENTS = 16
_CLIENT_TIMEOUT = 10.0
_PAGE = b"<html><head><title>wgbpf</title></head><body><a href='/metrics'>metrics</a></body></html>\n"


def split_address(text: str) -> tuple[str, int]:
    """ADDR:PORT or [ADDR6]:PORT. Raises OSError, as a bind to nonsense would."""
    host, colon, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 65_536
    if not colon or number > 65_535 or not host.isascii() or not host.isprintable():
        raise OSError(22, f"expected ADDR:PORT, not {text!r}")
    return host.strip("[]") or "127.0.0.1", number


class Exporter:
    """Listens from construction (OSError when it cannot) until `stop`."""

    def __init__(self, address: str, snapshot: Callable[[], Snapshot], peer_cap: int) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(WgbpfCollector(snapshot, peer_cap))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        host, port = split_address(address)
        server_class = _Server6 if ":" in host else _Server
        self._server = server_class((host, port), _Handler)
        self._server.set_app(_routes(make_wsgi_app(registry)))
        self.port: int = self._server.server_address[1]
        self._stopped, self._stopping = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.close()
        self._thread.join()
        self._stopped.close()
        self._server.server_close()

    def _serve(self) -> None:
        """Like serve_forever, which wakes twice a second to see whether it shall stop."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while all(key.fileobj is not self._stopped for key, _ in selector.select()):
                self._server.handle_request()


class _Server(ThreadingMixIn, WSGIServer):
    """A bounded number of clients at a time, none of them for long."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 4 * _MAX_CLIENTS
    """The default of 5 makes a burst of clients wait for a second SYN."""

    def __init__(self, *args: Any) -> None:
        self._slots = threading.BoundedSemaphore(_MAX_CLIENTS)
        super().__init__(*args)

    def server_bind(self) -> None:
        # Without the base class's reverse lookup of our own address, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up or times out is no event."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Wire(io.RawIOBase):
    """A connection on which a client has `_CLIENT_TIMEOUT` for its whole request, not for each byte of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = time.monotonic() + _CLIENT_TIMEOUT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._connection.settimeout(_CLIENT_TIMEOUT)
        try:
            self._connection.sendall(data)
        except TimeoutError as error:
            # The word that wsgiref understands; a time-out it would print with its traceback.
            raise ConnectionAbortedError("the client does not read") from error
        return len(data)


class _Handler(WSGIRequestHandler):
    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        wire = _Wire(self.connection)
        self.rfile = io.BufferedReader(wire)
        self.wfile = wire  # type: ignore[assignment]  # unbuffered, as the base class has it

    def log_message(self, format: str, *args: Any) -> None:
        """One line a scrape would fill the log."""


def _routes(metrics: Any) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case "/metrics":
                answer: Iterable[bytes] = metrics(environ, start_response)
                return answer
            case "/" | "":
                start_response("200 OK", [("Content-Type", "text/html")])
                return [_PAGE]
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"not here: see /metrics\n"]

    return app

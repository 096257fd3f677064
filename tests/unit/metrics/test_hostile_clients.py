"""HTTP clients that are slow, rude or broken, against the exporter on a real socket."""

import random
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from controller import exporter as module
from controller.exporter import Exporter, split_address
from wgbpf.metrics.snapshot import Snapshot

from .samples import peer, snapshot

PATIENCE = 1.0
SLOTS = module._MAX_CLIENTS


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporter]:
    monkeypatch.setattr(module, "_CLIENT_TIMEOUT", PATIENCE)
    made = Exporter("127.0.0.1:0", snapshot, 1)
    yield made
    made.stop()


def answers(exporter: Exporter) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=5) as answer:
            return b"wgbpf_build_info" in answer.read()
    except OSError:
        return False


def wait_for_answer(exporter: Exporter, seconds: float) -> float:
    """How long it took until somebody else was answered."""
    began = time.monotonic()
    while not answers(exporter):
        assert time.monotonic() - began < seconds, "locked out"
        time.sleep(0.05)
    return time.monotonic() - began


def connect(exporter: Exporter) -> socket.socket:
    return socket.create_connection(("127.0.0.1", exporter.port), timeout=5)


def talk(exporter: Exporter, request: bytes) -> bytes:
    """All that the exporter answers; empty when it just hangs up."""
    with connect(exporter) as client:
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))
        except (ConnectionResetError, BrokenPipeError):
            return b""


def test_clients_that_drip_bytes_into_every_slot_are_cut_off_in_time(exporter: Exporter) -> None:
    clients = [connect(exporter) for _ in range(SLOTS)]
    end = threading.Event()

    def drip() -> None:
        while not end.wait(0.2):
            for client in clients:
                try:
                    client.sendall(b"G")
                except OSError:
                    continue

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        time.sleep(0.3)
        assert not answers(exporter)
        wait_for_answer(exporter, PATIENCE + 2)
    finally:
        end.set()
        thread.join()
        for client in clients:
            client.close()


def test_headers_without_end_are_cut_off_in_time(exporter: Exporter) -> None:
    with connect(exporter) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):  # a reset or a broken pipe, whichever comes first
            while time.monotonic() - began < PATIENCE + 3:
                client.sendall(b"X-Long: 1\r\n")
                time.sleep(0.1)
        assert time.monotonic() - began < PATIENCE + 2


def test_a_client_that_does_not_read_is_dropped_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_CLIENT_TIMEOUT", PATIENCE)
    many = [peer(n) for n in range(20_000)]
    made = Exporter("127.0.0.1:0", lambda: snapshot(*many), len(many))
    before = threading.active_count()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", made.port))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        began = time.monotonic()
        time.sleep(0.2)
        while threading.active_count() > before:
            assert time.monotonic() - began < 10
            time.sleep(0.05)
        assert time.monotonic() - began > PATIENCE / 2, "the page fitted into the socket's buffers"
    made.stop()
    assert capfd.readouterr() == ("", "")


def test_any_bytes_are_answered_or_cut_off_and_the_exporter_stays(
    exporter: Exporter, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(20261124)
    good = b"GET /metrics?name[]=wgbpf_peers HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
    for _ in range(300):
        request = bytearray(good)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(request))
            match rng.randrange(3):
                case 0:
                    request[at] = rng.randrange(256)
                case 1:
                    del request[at : at + rng.randrange(10)]
                case _:
                    request[at:at] = rng.randbytes(rng.randrange(1, 200))
            request = request or bytearray(b"\0")
        answer = talk(exporter, bytes(request))
        # Without a version on the request line the answer is HTTP/0.9: a page without a header.
        assert answer == b"" or answer[:4] in (b"HTTP", b"<htm", b"# HE", b"not ") or answer[0] in b"\x1f\n<"
    assert answers(exporter)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"200"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"GET /../metrics HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", b"404"),
        (b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"nonsense\r\n\r\n", b""),
    ],
)
def test_only_a_get_of_a_known_page_is_served(exporter: Exporter, request_: bytes, status: bytes) -> None:
    answer = talk(exporter, request_)
    print(answer[:300])
    assert answer.split(b" ")[1:2] == [status] if status else not answer.startswith(b"HTTP/1.0 200")


def test_one_family_can_be_asked_for_by_name(exporter: Exporter) -> None:
    body = talk(exporter, b"GET /metrics?name[]=wgbpf_peers_capped HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")[
        2
    ]
    names = {line.split(b"{")[0] for line in body.splitlines() if not line.startswith(b"#")}
    assert names == {b"wgbpf_peers_capped"}


def test_it_listens_on_ipv6_too() -> None:
    made = Exporter("[::1]:0", snapshot, 1)
    try:
        with urllib.request.urlopen(f"http://[::1]:{made.port}/metrics", timeout=5) as answer:
            assert answer.status == 200
    finally:
        made.stop()


def test_stop_does_not_wait_for_a_controller_that_hangs() -> None:
    release = threading.Event()

    def hang() -> Snapshot:
        release.wait(20)
        raise TimeoutError

    made = Exporter("127.0.0.1:0", hang, 1)
    with connect(made) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        time.sleep(0.2)
        began = time.monotonic()
        made.stop()
        assert time.monotonic() - began < 1
        release.set()
    with pytest.raises(OSError):  # refused: nobody listens there any more
        socket.create_connection(("127.0.0.1", made.port), timeout=2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "9586",
        "a:b",
        "1.2.3.4:99999",
        "127.0.0.1:²",
        "127.0.0.1:" + "1" * 5000,
        "a\0b:1",
        "é" * 70 + ":1",
        "a:-1",
    ],
)
def test_a_listen_address_that_is_none_is_one_clear_oserror(text: str) -> None:
    with pytest.raises(OSError, match="expected ADDR:PORT"):
        split_address(text)

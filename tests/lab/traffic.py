"""Traffic whose loss is known exactly."""

import json
import re
import signal
import sys
from dataclasses import dataclass
from typing import Any

from .lab import PINGER, Host, Process, wait_until


@dataclass(frozen=True)
class FlowResult:
    sent: int
    received: int

    @property
    def lost(self) -> int:
        return self.sent - self.received


class PingFlow:
    """Steady echo requests in the background; `stop` waits for the last answers and counts."""

    def __init__(self, host: Host, address: str, interval: float) -> None:
        arguments = [address, "0", str(interval), "2", "56"]
        self._process: Process = host.start([sys.executable, str(PINGER), *arguments])
        wait_until(lambda: "ready" in self._process.output, 5, "the pinger runs")

    def stop(self) -> FlowResult:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        found = json.loads(self._process.output.splitlines()[-1])
        return FlowResult(found["sent"], found["received"])


_RECEIVER = """
import select, socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
s.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
seen = set()
while True:
    data = s.recv(2048)
    if data == b"end":
        break
    seen.add(int.from_bytes(data[:8], "big"))
print("received", len(seen), flush=True)
"""
_SENDER = """
import socket, sys, time
address, port, size, rate, seconds = sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:6])
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((address, port))
total = int(rate * seconds)
began = time.monotonic()
pad = bytes(int(size) - 8)
refused = 0
for n in range(total):
    due = began + n / rate
    while (wait := due - time.monotonic()) > 0:
        time.sleep(wait)
    try:
        s.send(n.to_bytes(8, "big") + pad)
    except OSError:
        refused += 1
print("sent", total, "refused", refused, flush=True)
"""


def udp_flow(
    source: Host, target: Host, address: str, size: int, rate: float, seconds: float, port: int = 7001
) -> FlowResult:
    """Numbered UDP datagrams at a steady rate (packets a second), counted at the receiver."""
    receiver = target.start([sys.executable, "-u", "-c", _RECEIVER, address, str(port)])
    wait_until(lambda: "ready" in receiver.output or receiver.status, 10, "the UDP receiver listens")
    assert receiver.status is None, receiver.output
    arguments = [address, port, size, rate, seconds]
    sender = [sys.executable, "-c", _SENDER, *map(str, arguments)]
    counts = re.search(r"sent (\d+)", source.run(sender, timeout=seconds * 2 + 30))
    assert counts is not None
    end = "import socket,sys,time; s=socket.socket(10 if ':' in sys.argv[1] else 2, 2)\n"
    end += "for _ in range(20): s.sendto(b'end', (sys.argv[1], int(sys.argv[2]))); time.sleep(0.05)"
    source.try_run([sys.executable, "-c", end, address, str(port)])
    receiver.wait(10)
    received = re.search(r"received (\d+)", receiver.output)
    assert received is not None, receiver.output
    return FlowResult(int(counts[1]), int(received[1]))


def iperf3(client: Host, server: Host, address: str, *options: str, seconds: int = 1) -> dict[str, Any]:
    """One run; the `end` object of iperf3's JSON."""
    listening = server.start(["iperf3", "-s", "-1", "-B", address, "--forceflush"])
    wait_until(lambda: "listening" in listening.output, 5, "iperf3 listens")
    text = client.run(["iperf3", "-c", address, "-t", str(seconds), "-J", *options], timeout=seconds + 20)
    listening.wait(5)
    end: dict[str, Any] = json.loads(text)["end"]
    return end

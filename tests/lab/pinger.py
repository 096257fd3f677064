"""Echo requests, counted exactly: `python pinger.py ADDRESS COUNT INTERVAL WAIT SIZE` inside a host.

ping(8) waits for the last answers no longer than its interval, so on a busy machine it tells of losses that never
were. This one waits for WAIT seconds. COUNT 0: until SIGINT. Prints JSON: sent, received, rtts (ms).
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import time


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Pinger:
    def __init__(self, address: str, size: int) -> None:
        self.v6 = ":" in address
        family, proto = (socket.AF_INET6, 58) if self.v6 else (socket.AF_INET, 1)
        self.sock = socket.socket(family, socket.SOCK_RAW, proto)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.target = (address, 0)
        self.payload = bytes(n & 0xFF for n in range(size))
        self.ident = os.getpid() & 0xFFFF
        self.pending: dict[int, float] = {}
        self.sent = self.received = 0
        self.rtts: list[float] = []

    def send(self) -> None:
        number = self.sent & 0xFFFF
        kind = 128 if self.v6 else 8
        message = struct.pack(">BBHHH", kind, 0, 0, self.ident, number) + self.payload
        if not self.v6:
            message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
        self.sent += 1
        self.pending[number] = time.monotonic()
        try:
            self.sock.sendto(message, self.target)
        except OSError:
            # The route or the tunnel refused it: it was to be sent, and it is lost.
            return

    def receive(self, until: float) -> None:
        """Take answers until then."""
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return
            data = self.sock.recv(70_000)
            message = data if self.v6 else data[(data[0] & 15) * 4 :]
            kind, _, _, ident, number = struct.unpack_from(">BBHHH", message)
            if kind != (129 if self.v6 else 0) or ident != self.ident or message[8:] != self.payload:
                continue
            began = self.pending.pop(number, None)
            if began is not None:
                self.received += 1
                self.rtts.append(round((time.monotonic() - began) * 1000, 3))


def main() -> None:
    address, count, interval, wait, size = (
        sys.argv[1],
        int(sys.argv[2]),
        *map(float, sys.argv[3:5]),
        int(sys.argv[5]),
    )
    pinger = Pinger(address, size)
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: stopped.append(number))
    print("ready", file=sys.stderr, flush=True)
    due = time.monotonic()
    while not stopped and (count == 0 or pinger.sent < count):
        pinger.send()
        due = max(due + interval, time.monotonic())
        pinger.receive(due)
    end = time.monotonic() + wait
    while pinger.pending and time.monotonic() < end:
        pinger.receive(min(end, time.monotonic() + 0.01))
    print(json.dumps({"sent": pinger.sent, "received": pinger.received, "rtts": pinger.rtts[-100_000:]}))


if __name__ == "__main__":
    main()

"""Many peers behind one address: `python crowd.py SEED COUNT ADDRESS PORT PUBLIC-KEY SECONDS` inside a host.

Each is a device of the protocol core with a socket of its own; all begin at once. Prints, as JSON, the seconds after which
each had its session; null: not at all. Peer n has the private key HASH(SEED || n).
"""

import hashlib
import json
import os
import selectors
import socket
import sys
import time
from ipaddress import ip_address, ip_network

from wgbpf.protocol.actions import Action, HandshakeEnded, HandshakeResult, SendDatagram
from wgbpf.protocol.addresses import Endpoint, Path
from wgbpf.protocol.changes import AllowedIpChange, DeviceChange, PeerChange
from wgbpf.protocol.crypto import Secret
from wgbpf.protocol.device import Device


def private_key(seed: str, number: int) -> bytes:
    return hashlib.blake2s(f"{seed} {number}".encode()).digest()


def clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Member:
    def __init__(self, key: bytes, target: tuple[str, int], their_key: bytes) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.target = target
        self.path = Path(Endpoint(ip_address(target[0]), target[1]))
        self.connected: float | None = None
        self.device = Device(os.urandom)
        self.device.set_wall_clock(time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        peer = PeerChange(
            their_key,
            endpoint=self.path.remote,
            allowed_ips=(AllowedIpChange(ip_network("0.0.0.0/0")),),
        )
        self.device.configure(DeviceChange(private_key=Secret(key), peers=(peer,)), clock())

    def begin(self) -> None:
        packet = bytes.fromhex("45000014000000004011000001020304") + bytes(4)
        self.do(self.device.send(packet, clock()))

    def readable(self) -> None:
        while True:
            try:
                data = self.sock.recv(2048)
            except BlockingIOError:
                break
            self.do(self.device.receive(data, self.path, clock()))
        while self.device.backlog:
            self.do(self.device.handle_handshakes(clock()))

    def tick(self) -> None:
        due = self.device.next_deadline()
        if due is not None and due <= clock():
            self.do(self.device.tick(clock()))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, SendDatagram):
                self.sock.sendto(action.data, self.target)
            elif isinstance(action, HandshakeEnded) and action.result is HandshakeResult.COMPLETED:
                self.connected = self.connected or clock()


def main(seed: str, count: int, target: tuple[str, int], their_key: bytes, seconds: float) -> None:
    members = [Member(private_key(seed, n), target, their_key) for n in range(count)]
    with selectors.DefaultSelector() as selector:
        for member in members:
            selector.register(member.sock, selectors.EVENT_READ, member)
        began = clock()
        for member in members:
            member.begin()
        while clock() - began < seconds and not all(m.connected for m in members):
            for key, _ in selector.select(0.02):
                key.data.readable()
            for member in members:
                member.tick()
    print(json.dumps([None if m.connected is None else round(m.connected - began, 3) for m in members]))


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        (sys.argv[3], int(sys.argv[4])),
        bytes.fromhex(sys.argv[5]),
        float(sys.argv[6]),
    )

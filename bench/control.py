"""Scenarios of the control side: handshakes a second as responder, and starting with 10,000 peers."""

import os
import sys
import time

from tests.lab.lab import Lab
from wgbpf.config.keys import encode_key
from wgbpf.protocol.crypto import PrivateKey

from .implementations import Implementation

PEERS = 10_000
_CLIENTS = 400

# Runs inside the other host: initiations of many peers, made beforehand, sent at once; answers are counted.
_FLOOD = """
import sys, time, socket, os
from wgbpf.protocol.crypto import PrivateKey
from wgbpf.protocol.cookies import CookieMaker
from wgbpf.protocol.noise import create_initiation
from wgbpf.protocol.tai64n import stamp
target, seed, count = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), int(sys.argv[3])
address = (sys.argv[4], int(sys.argv[5]))
messages = []
for n in range(count):
    me = PrivateKey(seed[:28] + n.to_bytes(4, "big"))
    body = create_initiation(me, target, me.dh(target), n, PrivateKey(os.urandom(32)), stamp(time.time_ns()))[0].pack()
    messages.append(CookieMaker(target).stamp(body, 0))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
sock.settimeout(0.5)
began = last = time.monotonic()
answers = sent = 0
window = 64
while sent < count and sent < window:
    sock.sendto(messages[sent], address); sent += 1
while True:
    try:
        data = sock.recv(2048)
    except TimeoutError:
        break
    if data[0] == 2:
        answers += 1; last = time.monotonic()
    if sent < count:
        sock.sendto(messages[sent], address); sent += 1
print(answers, last - began)
"""


def handshakes(implementation: Implementation) -> float:
    """Responses a second to a window of 64 initiations, each of another peer."""
    assert implementation.make is not None
    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.link(a, b)
        node = implementation.make(lab, a, 1)
        node.start()
        seed = os.urandom(32)
        publics = [PrivateKey(seed[:28] + n.to_bytes(4, "big")).public for n in range(_CLIENTS)]
        text = "".join(f"[Peer]\nPublicKey = {encode_key(public)}\n" for public in publics)
        node.wg("addconf", node.interface, "/dev/stdin", stdin=text)
        target = PrivateKey(node.private_key).public
        arguments = [target.hex(), seed.hex(), str(_CLIENTS), a.address4, str(node.port)]
        answers, seconds = b.run([sys.executable, "-c", _FLOOD, *arguments], timeout=60).split()
        return int(answers) / float(seconds) if float(seconds) else 0.0


def start_with_peers(implementation: Implementation) -> float:
    """Seconds from `wg setconf` with 10,000 peers to a `wg show` that tells of all."""
    assert implementation.make is not None
    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        lab.link(a, b)
        node = implementation.make(lab, a, 1)
        node.start()
        peers = "".join(
            f"[Peer]\nPublicKey = {encode_key(os.urandom(32))}\nAllowedIPs = 10.{n >> 8 & 255}.{n & 255}.0/24\n"
            for n in range(PEERS)
        )
        began = time.monotonic()
        node.wg("setconf", node.interface, "/dev/stdin", stdin=node.config() + peers)
        listed = node.wg("show", node.interface, "peers").count("\n")
        took = time.monotonic() - began
        if listed != PEERS:
            raise RuntimeError(f"{implementation.name} tells of {listed} peers")
        return took

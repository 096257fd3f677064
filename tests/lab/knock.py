"""One handshake as a known peer: `python knock.py PRIVATE-KEY THEIR-KEY ADDRESS PORT` inside a host (keys in hex).

Prints, as JSON, the initiation that was sent (hex) and the index by which the other side wants to hear of the session.
"""

import json
import os
import socket
import sys
import time

from wgbpf.protocol.cookies import CookieMaker
from wgbpf.protocol.crypto import PrivateKey
from wgbpf.protocol.messages import Response, parse
from wgbpf.protocol.noise import create_initiation
from wgbpf.protocol.tai64n import stamp


def main(private: bytes, theirs: bytes, target: tuple[str, int]) -> None:
    me = PrivateKey(private)
    body = create_initiation(
        me, theirs, me.dh(theirs), 77, PrivateKey(os.urandom(32)), stamp(time.time_ns())
    )[0].pack()
    message = CookieMaker(theirs).stamp(body, 0.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(("", 40_000))
        sock.sendto(message, target)
        answer = parse(sock.recv(2048))
    assert isinstance(answer, Response)
    print(json.dumps({"initiation": message.hex(), "index": answer.sender}))


if __name__ == "__main__":
    main(bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2]), (sys.argv[3], int(sys.argv[4])))

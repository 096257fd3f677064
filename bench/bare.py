"""`python -m bench.bare IF NUMBER PEERS`: the xdp data path alone on eth0, with this many peers and their sessions.

Peers 0 and 1 are the other host (NUMBER 1 or 2), whose keys both ends derive from the same seed; the other peers are
there to be in the way. Prints the seconds that installing took and serves until its input ends.
"""

import hashlib
import json
import sys
import time
from ipaddress import ip_address, ip_network

from wgbpf.datapath.interface import InterfaceSpec
from wgbpf.datapath.netlink import Netlink
from wgbpf.datapath.xdp import XdpDataPath
from wgbpf.protocol.actions import PeerEntry, Session
from wgbpf.protocol.addresses import Endpoint, Local, Path
from wgbpf.protocol.crypto import Secret

_PORT = 51_820


def _key(number: int, peer: int) -> Secret:
    return Secret(hashlib.blake2s(f"{number} {peer}".encode()).digest())


def main(interface: str, number: int, peers: int) -> None:
    other = 3 - number
    netlink = Netlink()
    datapath = XdpDataPath(netlink)
    datapath.open(InterfaceSpec(interface, 1420, ("eth0",), peers=peers))
    try:
        datapath.bind(_PORT, 0)
        path = Path(
            Endpoint(ip_address(f"192.0.2.{other}"), _PORT),
            Local(ip_address(f"192.0.2.{number}"), netlink.index("eth0")),
        )
        began = time.monotonic()
        created = time.clock_gettime(time.CLOCK_BOOTTIME)
        for peer in range(peers):
            inner = ip_network(
                f"10.77.{peer}.{other}/32" if peer < 2 else f"10.{128 + (peer >> 8)}.{peer & 255}.0/24"
            )
            datapath.set_peer(PeerEntry(peer, path, (inner,), peer.to_bytes(32, "big")))
            keys = _key(number, peer), _key(other, peer)
            datapath.install(Session(peer, peer + 1, peer + 1, *keys, created, initiator=True))
        took = time.monotonic() - began
        datapath.ready()
        print(json.dumps({"install": took, "info": datapath.info()}), flush=True)
        sys.stdin.read()
    finally:
        datapath.close()
        netlink.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""The cookie reply as a frame: addressed, summed and sealed so that the peer opens it."""

import pytest

from wgbpf.datapath.interface import GuardSettings
from wgbpf.datapath.libbpf import XDP_DROP, XDP_PASS, XDP_TX
from wgbpf.datapath.outerframe import outer_frame
from wgbpf.protocol.constants import LABEL_COOKIE
from wgbpf.protocol.crypto import PrivateKey, hash_, xaead_open
from wgbpf.protocol.messages import CookieReply, parse

from .dataplane import PORT
from .guardplane import OURS, GuardPlane, source

ETHER = bytes.fromhex("020000000001020000000002")
VLAN = b"\x81\0\x60\5"


def _sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[n : n + 2], "big") for n in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _framed(message: bytes, address: str, port: int, vlan: bytes = b"", trailer: bytes = b"") -> bytes:
    frame = outer_frame(message, source(address, port), PORT, 0xFF)
    assert frame is not None
    return ETHER + vlan + frame[12:] + trailer


@pytest.mark.parametrize("trailer", [b"", bytes(3), bytes(90)])
@pytest.mark.parametrize("vlan", [b"", VLAN], ids=["plain", "vlan"])
@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77"])
def test_every_field_of_the_frame(guard: GuardPlane, address: str, vlan: bytes, trailer: bytes) -> None:
    guard.load()
    for port in (1, 4242, 65535):
        for kind in (1, 2):
            maker = guard.maker()
            guard.live(7)
            message = guard.initiation(maker) if kind == 1 else guard.response(7, maker)
            verdict, out = guard.receive_frame(_framed(message, address, port, vlan, trailer))
            assert verdict == XDP_TX
            assert out[:12] == ETHER[6:] + ETHER[:6]
            assert out[12 : 12 + len(vlan)] == vlan
            ip = out[12 + len(vlan) + 2 :]
            remote, local = source(address).remote.address.packed, OURS[4 if "." in address else 6].packed
            if "." in address:
                assert out[12 + len(vlan) :][:2] == b"\x08\0"
                assert ip[:4] == b"\x45\0" + (20 + 72).to_bytes(2, "big")
                assert ip[6:8] == b"\0\0" and ip[8:10] == b"\x40\x11" and ip[12:20] == local + remote
                assert _sum(ip[:20]) == 0xFFFF
                udp = ip[20:]
            else:
                assert out[12 + len(vlan) :][:2] == b"\x86\xdd"
                assert ip[:8] == b"\x60\0\0\0" + (72).to_bytes(2, "big") + b"\x11\x40"
                assert ip[8:40] == local + remote
                udp = ip[40:]
            assert len(udp) == 72
            assert udp[:6] == PORT.to_bytes(2, "big") + port.to_bytes(2, "big") + b"\0\x48"
            assert udp[6:8] != b"\0\0"
            assert _sum(local + remote + b"\0\x11\0\x48" + udp) == 0xFFFF
            reply = parse(udp[8:])
            assert isinstance(reply, CookieReply)
            assert reply.receiver == int.from_bytes(message[4:8], "little")
            maker.consume(reply, 0.0)


def test_nonces_differ(guard: GuardPlane) -> None:
    guard.load()
    message = guard.initiation()
    replies = [guard.receive(message)[1][-56:-32] for _ in range(500)]
    assert len(set(replies)) == 500


def test_a_frame_to_many_gets_no_answer(guard: GuardPlane) -> None:
    guard.load()
    frame = outer_frame(guard.initiation(), source(), PORT, 0)
    assert frame is not None
    before = guard.counts()
    assert guard.receive_frame(b"\xff" * 6 + frame[6:])[0] == XDP_DROP
    assert guard.counted(before) == {"RX_COOKIE_REQUIRED": 1}


def test_the_known_answers_of_the_protocol_reference(guard: GuardPlane) -> None:
    """Cookie and mac2 for 192.0.2.1:51820 under a known secret; the guard is the responder of those values."""
    initiation = bytes.fromhex(
        "010000004433221101421b1dfb543abd9cf0671a97d6f7fb0b90e63f729b4fc0c212e9b06175264528aacc8c88980b31693354f7"
        "ab89b970e6a0028b44684b379d2d414c8f34dd9399ff0e3249d1f0de5d82e0bc3b02cf54d6425f29fabb003ade7c9f7ccbcceec7"
        "62974d2d7e70d616729c71e56e5a32b1423a1ef17fbc51891f74a37300000000000000000000000000000000"
    )
    mac2 = bytes.fromhex("8bfd068401cef8d7c12905c5ec78e05f")
    private = PrivateKey(hash_(b"wgbpf kat Sr"))
    guard.maps.set(GuardSettings(private.public, hash_(b"wgbpf kat R"), None, guard.limits))
    guard.load()
    # The source of those values is our own address in this plane; it is as good as another.
    path = source("192.0.2.1", 51820)
    verdict, out = guard.receive(initiation, path)
    assert verdict == XDP_TX
    cookie = parse(out[-64:])
    assert isinstance(cookie, CookieReply) and cookie.receiver == 0x11223344
    key = hash_(LABEL_COOKIE, private.public)
    opened = xaead_open(key, cookie.nonce, cookie.cookie, initiation[-32:-16])
    assert opened.hex() == "9b81e3b3e8a9a0e76a05120ba9e7ae02"
    assert guard.receive(initiation[:-16] + mac2, path)[0] == XDP_PASS

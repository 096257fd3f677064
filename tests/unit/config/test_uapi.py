"""The UAPI codec."""

import errno
import time
from ipaddress import IPv6Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.protocol.sim import Sim, key, public
from wgbpf.config import uapi
from wgbpf.config.uapi import UapiError
from wgbpf.protocol.changes import AllowedIpChange
from wgbpf.protocol.crypto import Secret

PEER = public("B").hex()


def test_every_key_of_a_set() -> None:
    change = uapi.parse_set(
        f"private_key={key('A').hex()}\nlisten_port=51820\nfwmark=0\nreplace_peers=true\n"
        f"public_key={PEER}\nupdate_only=true\npreshared_key={'00' * 32}\nendpoint=[fe80::1%3]:9\n"
        "persistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=10.0.0.0/8\nallowed_ip=-fd00::/8\n"
        f"protocol_version=1\npublic_key={'11' * 32}\nremove=true\n".encode()
    )
    assert (change.private_key, change.listen_port, change.fwmark) == (Secret(key("A")), 51820, 0)
    assert change.replace_peers
    first, second = change.peers
    assert first.update_only
    assert first.endpoint is not None
    assert (first.endpoint.address, first.endpoint.port, first.endpoint.scope) == (
        IPv6Address("fe80::1"),
        9,
        3,
    )
    assert first.persistent_keepalive == 25
    assert first.allowed_ips == (
        AllowedIpChange(ip_network("10.0.0.0/8")),
        AllowedIpChange(ip_network("fd00::/8"), remove=True),
    )
    assert second.remove


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("nonsense=1", errno.EINVAL),
        ("no equals sign", errno.EPROTO),
        ("private_key=00", errno.EINVAL),
        (f"private_key={'é' * 64}", errno.EINVAL),
        ("listen_port=65536", errno.EINVAL),
        ("listen_port=+1", errno.EINVAL),
        ("replace_peers=false", errno.EINVAL),
        (f"public_key={PEER}\nendpoint=host:1", errno.EINVAL),
        (f"public_key={PEER}\nendpoint=1.2.3.4:0", errno.EINVAL),
        (f"public_key={PEER}\nendpoint=::1:5", errno.EINVAL),
        (f"public_key={PEER}\nallowed_ip=10.0.0.0/40", errno.EINVAL),
        (f"public_key={PEER}\npersistent_keepalive_interval=70000", errno.EINVAL),
        (f"public_key={PEER}\nprotocol_version=2", errno.EINVAL),
        (f"public_key={PEER}\nprivate_key={PEER}", errno.EINVAL),
        ("\xff".encode("latin-1").decode("latin-1"), errno.EPROTO),
    ],
)
def test_a_bad_line_is_a_negative_errno(line: str, number: int) -> None:
    with pytest.raises(UapiError) as caught:
        uapi.parse_set(line.encode())
    assert caught.value.errno == -number


def test_a_get_has_the_order_that_wg_expects() -> None:
    sim = Sim.connected()
    lines = uapi.format_get(sim.ends["A"].device).split("\n")
    keys = [line.partition("=")[0] for line in lines]
    assert keys == [
        "private_key", "public_key", "preshared_key", "protocol_version", "endpoint",
        "last_handshake_time_sec", "last_handshake_time_nsec", "tx_bytes", "rx_bytes",
        "persistent_keepalive_interval", "allowed_ip", "errno", "", "",
    ]  # fmt: skip
    values = dict(line.split("=") for line in lines if line)
    assert int(values["last_handshake_time_sec"]) >= 1_700_000_000
    # Whole messages: 148 + 96 (one packet of 64 B) from us, 92 + 96 from the peer, and one keepalive each.
    assert (int(values["tx_bytes"]), int(values["rx_bytes"])) == (148 + 96 + 32, 92 + 96)


def test_a_set_of_a_get_changes_nothing() -> None:
    sim = Sim.connected()
    device = sim.ends["A"].device
    told = uapi.format_get(device).split("\n")
    asked = [t for t in told if t.split("=")[0] not in _ONLY_IN_GET]
    assert device.configure(uapi.parse_set("\n".join(asked).encode()), sim.now) == []


_ONLY_IN_GET = {"last_handshake_time_sec", "last_handshake_time_nsec", "tx_bytes", "rx_bytes", "errno"}


def test_ten_thousand_lines_are_read_quickly_enough_for_a_thousand_peers() -> None:
    lines = [
        f"public_key={n:064x}\nreplace_allowed_ips=true\nallowed_ip=10.{n // 256}.{n % 256}.0/24"
        for n in range(1000)
    ]
    began = time.process_time()
    assert len(uapi.parse_set("\n".join(lines).encode()).peers) == 1000
    assert time.process_time() - began < 1


_LINES = [
    "private_key=" + "00" * 32, "listen_port=1", "replace_peers=true", "public_key=" + PEER, "endpoint=[::1]:1",
    "allowed_ip=::/0", "allowed_ip=-0.0.0.0/0", "remove=true", "=", "fwmark=0x", "update_only=true", "",
]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(_LINES).map(str.encode), st.binary(max_size=30))))
def test_any_request_is_a_change_or_one_error(lines: list[bytes]) -> None:
    sim = Sim()
    try:
        change = uapi.parse_set(b"\n".join(lines))
    except UapiError as error:
        assert error.errno < 0
    else:
        sim.ends["A"].device.configure(change, sim.now)

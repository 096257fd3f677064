"""The wg(8) file: what is read, and one error for everything else."""

import subprocess
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgbpf.config import wgfile
from wgbpf.config.errors import ConfigError
from wgbpf.config.keys import decode_key, encode_key, genkey, pubkey, short_key
from wgbpf.config.wgfile import Host
from wgbpf.protocol.addresses import Endpoint

KEY = encode_key(genkey(lambda n: b"k" * n))
PEER = encode_key(pubkey(decode_key(KEY)))
HERE = Path("w.conf")

FULL = f"""# a comment
[interface]
PRIVATEKEY={KEY}   # beside it
  ListenPort = 51820
FwMark = 0xca6c
Address = 10.0.0.1/24, fd00::1/64
Address = 10.0.1.1
MTU = 1380
Table = off
DNS = 1.1.1.1, example.org
PostUp = iptables -A FORWARD -i %i -j ACCEPT; echo a,b
SaveConfig = true

[Peer]
# Name = the office
PublicKey = {PEER}
PresharedKey = {KEY}
AllowedIPs = 10.0.0.2, 10.1.2.3/16
AllowedIPs = fd00::/64
Endpoint = [2001:db8::1]:51820
PersistentKeepalive = 25
"""


def test_everything_that_wg_and_wg_quick_know() -> None:
    parsed = wgfile.parse(HERE, FULL.encode())
    interface, peer = parsed.interface, parsed.peers[0]
    assert interface.private_key is not None
    assert encode_key(bytes(interface.private_key)) == KEY
    assert (interface.listen_port, interface.fwmark, interface.mtu, interface.table) == (
        51820,
        0xCA6C,
        1380,
        "off",
    )
    assert interface.addresses == [ip_interface(a) for a in ("10.0.0.1/24", "fd00::1/64", "10.0.1.1/32")]
    assert interface.post_up == ["iptables -A FORWARD -i %i -j ACCEPT; echo a,b"]
    assert interface.dns == ["1.1.1.1", "example.org"]
    assert (peer.name, encode_key(peer.public_key), peer.persistent_keepalive) == ("the office", PEER, 25)
    assert list(peer.allowed_ips) == [ip_network(n) for n in ("10.0.0.2/32", "10.1.0.0/16", "fd00::/64")]
    assert str(peer.endpoint) == "[2001:db8::1]:51820"


def test_a_host_name_is_left_to_the_caller() -> None:
    text = f"[Peer]\nPublicKey = {PEER}\nEndpoint = vpn.example.org:1\n"
    parsed = wgfile.parse(HERE, text.encode())
    assert parsed.peers[0].endpoint == Host("vpn.example.org", 1, 3)

    def refuse(host: Host) -> Endpoint:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(ConfigError, match=r"w.conf:3: Endpoint: 'vpn.example.org' cannot be looked up"):
        parsed.to_change(refuse)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[Interface]\nPrivateKey = x\n", "w.conf:2: PrivateKey: a key is 32 bytes"),
        (f"[Interface]\nPrivateKey = {KEY[:-2]}B=\n", "w.conf:2: PrivateKey: a key is"),
        ("[Interface]\nListenPort = -1\n", "w.conf:2: ListenPort: expected a number from 0 to 65535"),
        ("[Interface]\nListenPort = 1\nListenPort = 2\n", "w.conf:3: ListenPort: given twice"),
        ("[Interface]\nMTU = 9\n", "w.conf:2: MTU: expected a number from 576"),
        ("[Interface]\nAddress = 10.0.0.1/33\n", "w.conf:2: Address: expected ADDRESS/LENGTH"),
        ("[Interface]\nTable = main\n", "w.conf:2: Table: expected a number"),
        ("[Interface]\nFwMark = 0x1ffffffff\n", "w.conf:2: FwMark: expected"),
        ("[Interface]\nAllowedIPs = 10.0.0.0/8\n", "w.conf:2: AllowedIPs: belongs into [Peer]"),
        ("[Interface]\nFoo = 1\n", "w.conf:2: Foo: unknown key"),
        ("[Interfaces]\n", "w.conf:1: unknown section"),
        ("PrivateKey = x\n", "w.conf:1: PrivateKey: stands before"),
        ("[Interface]\nnonsense\n", "w.conf:2: expected `Key = value`"),
        ("[Interface]\nPrivateKey =\n", "w.conf:2: PrivateKey: has no value"),
        ("[Peer]\n\n[Peer]\n", "w.conf:1: PublicKey: missing"),
        (
            f"[Peer]\nPublicKey = {PEER}\nEndpoint = 1::2:3\n",
            "w.conf:3: Endpoint: an IPv6 address needs brackets",
        ),
        (f"[Peer]\nPublicKey = {PEER}\nEndpoint = 1.2.3:4\n", "w.conf:3: Endpoint: expected a host name"),
        (f"[Peer]\nPublicKey = {PEER}\nEndpoint = a:0\n", "w.conf:3: Endpoint: expected a number from 1"),
        (f"[Peer]\nPublicKey = {PEER}\nPersistentKeepalive = 65536\n", "w.conf:3: PersistentKeepalive:"),
        (
            f"[Peer]\nPublicKey = {PEER}\n[Peer]\nPublicKey = {PEER}\n",
            "w.conf:3: PublicKey: the peer of line 1 again",
        ),
        ("[Interface]\n\0\n", "w.conf:2: a NUL byte"),
    ],
)
def test_one_error_with_file_line_and_key(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wgfile.parse(HERE, text.encode())
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_name_their_line() -> None:
    with pytest.raises(ConfigError, match=r"w.conf:2: not UTF-8"):
        wgfile.parse(HERE, b"[Interface]\n\xff\n")


def test_load_names_missing_and_warns_of_readable_secrets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        wgfile.load(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        wgfile.load(tmp_path)
    path = tmp_path / "w.conf"
    path.write_text(FULL)
    path.chmod(0o644)
    assert "chmod 600" in wgfile.load(path)[1][0]
    path.chmod(0o600)
    assert wgfile.load(path)[1] == []


def test_keys_agree_with_wg() -> None:
    done = subprocess.run(["wg", "pubkey"], input=KEY + "\n", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == PEER
    assert short_key(decode_key(PEER)) == f"{PEER[:4]}…{PEER[-5:-1]}"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*FULL.splitlines(), "[Peer]", "[Interface]", "=", "#", "Endpoint=[::1%a]:1"])),
    st.binary(max_size=40),
)
def test_any_text_is_a_file_or_one_error(lines: list[str], noise: bytes) -> None:
    for data in ("\n".join(lines).encode(), noise, "\n".join(lines).encode() + noise):
        try:
            wgfile.parse(HERE, data).to_change(lambda host: Endpoint(ip_interface("1.1.1.1").ip, host.port))
        except ConfigError as error:
            assert "\n" not in str(error)

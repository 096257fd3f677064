"""wg-quick up and down with wgbpf as its userspace implementation."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from wgbpf.config.keys import encode_key, genkey, pubkey

from .lab import Lab, unique_interface, wait_until
from .nodes import PeerConfig, WireguardGo


@pytest.mark.skipif(Path("/sys/module/wireguard").exists(), reason="wg-quick prefers the kernel's WireGuard")
def test_up_and_down_with_address_mtu_routes_and_two_peers(lab: Lab, tmp_path: Path) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    name = unique_interface()
    mine = genkey(os.urandom)
    theirs = WireguardGo(lab, b, 2)
    theirs.peers.append(_peer(encode_key(pubkey(mine)), "10.77.0.1/32", f"{a.address4}:51820"))
    theirs.start()
    path = tmp_path / f"{name}.conf"
    path.write_text(
        f"[Interface]\nPrivateKey = {encode_key(mine)}\nListenPort = 51820\n"
        "Address = 10.77.0.1/24, fd77::1/64\n"
        f"MTU = 1380\n[Peer]\nPublicKey = {theirs.public_key}\nAllowedIPs = 10.77.0.2/32, 10.99.0.0/16\n"
        f"Endpoint = {theirs.outer(4)}\n[Peer]\nPublicKey = {encode_key(pubkey(genkey(os.urandom)))}\n"
        "AllowedIPs = 10.98.0.0/24\n"
    )
    path.chmod(0o600)
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    program = shutil.which("wgbpf") or str(Path(sys.executable).parent / "wgbpf")
    (bin_directory / "wgbpf").symlink_to(program)
    environment = {
        "WG_QUICK_USERSPACE_IMPLEMENTATION": "wgbpf",
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
    }
    before = a.run("ip -o link") + a.run("ip route")
    a.run(["wg-quick", "up", str(path)], env=environment)
    assert "mtu 1380" in a.run(f"ip link show {name}")
    routes = a.run(f"ip route show dev {name}")
    assert "10.99.0.0/16" in routes
    assert "10.98.0.0/24" in routes
    assert len(a.run(["wg", "show", name, "peers"]).split()) == 2
    assert a.ping("10.77.0.2").received == 3
    assert b.ping("10.77.0.1").received == 3
    a.run(["wg-quick", "down", str(path)], env=environment)
    wait_until(lambda: not Path(f"/var/run/wireguard/{name}.sock").exists(), 5, "the socket is gone")
    wait_until(lambda: not Path(f"/run/wgbpf/{name}.ctl").exists(), 5, "the controller is gone")
    assert a.run("ip -o link") + a.run("ip route") == before


def _peer(key: str, allowed: str, endpoint: str) -> PeerConfig:
    return PeerConfig(key, (allowed,), endpoint)

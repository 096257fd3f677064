"""Bad configuration: one line that names file, line and key; nothing is left behind or disturbed."""

import os
import sys
from pathlib import Path

import pytest

from wgbpf.config.keys import encode_key, genkey, pubkey

from .lab import Host, Lab, unique_interface
from .nodes import Wgbpf, cli

KEY = encode_key(genkey(os.urandom))
PEER = encode_key(pubkey(genkey(os.urandom)))
OTHER = encode_key(pubkey(genkey(os.urandom)))


@pytest.fixture(scope="module")
def host(module_lab: Lab) -> Host:
    a, b = module_lab.host("a"), module_lab.host("b")
    module_lab.link(a, b)
    return a


CASES = {
    "bad private key": ("[Interface]\nPrivateKey = abc\n", ":2: PrivateKey: a key is 32 bytes"),
    "bad public key": (
        f"[Interface]\nPrivateKey = {KEY}\n[Peer]\nPublicKey = {PEER[:-2]}x=\n",
        ":4: PublicKey:",
    ),
    "duplicate peer": (
        f"[Interface]\nPrivateKey = {KEY}\n[Peer]\nPublicKey = {PEER}\n[Peer]\nPublicKey = {PEER}\n",
        ":5: PublicKey: the peer of line 3 again",
    ),
    "overlapping allowed IPs": (
        f"[Peer]\nPublicKey = {PEER}\nAllowedIPs = 10.1.0.0/16\n"
        f"[Peer]\nPublicKey = {OTHER}\nAllowedIPs = 10.2.0.0/16, 10.1.0.0/16\n",
        ":6: AllowedIPs: 10.1.0.0/16 belongs to the peer of line 1 already",
    ),
    "bad endpoint": (f"[Peer]\nPublicKey = {PEER}\nEndpoint = 1.2.3.4\n", ":3: Endpoint: expected HOST:PORT"),
    "name not found": (
        f"[Peer]\nPublicKey = {PEER}\nEndpoint = no.such.host.invalid:1\n",
        ":3: Endpoint: 'no.such.host.invalid' cannot be looked up",
    ),
    "unknown key": ("[Interface]\nMutex = 3\n", ":2: Mutex: unknown key"),
    "key in the wrong section": (f"[Interface]\nPublicKey = {PEER}\n", ":2: PublicKey: belongs into [Peer]"),
    "bad port": ("[Interface]\nListenPort = 70000\n", ":2: ListenPort: expected a number from 0 to 65535"),
    "bad allowed IP": (
        f"[Peer]\nPublicKey = {PEER}\nAllowedIPs = 10.0.0.0/33\n",
        ":3: AllowedIPs:",
    ),
    "no public key": ("[Peer]\nAllowedIPs = 10.0.0.0/8\n", ":1: PublicKey: missing"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_one_line_with_file_line_and_key(host: Host, tmp_path: Path, case: str) -> None:
    text, complaint = CASES[case]
    path = tmp_path / "bad.conf"
    path.write_text(text)
    before = host.run("ip -o link")
    done = cli(host, "attach", "eth0", "-i", unique_interface(), "-c", str(path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"wgbpf: {path}{complaint}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert host.run("ip -o link") == before


def test_missing_unreadable_and_directory(host: Host, tmp_path: Path) -> None:
    for path, complaint in ((tmp_path / "none.conf", "No such file"), (tmp_path, "Is a directory")):
        done = cli(host, "attach", "eth0", "-i", unique_interface(), "-c", str(path))
        assert done.returncode == 1
        assert done.stderr.startswith(f"wgbpf: {path}: {complaint}"), done.stderr


def test_port_in_use_interface_exists_and_no_such_nic(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text(f"[Interface]\nPrivateKey = {KEY}\nListenPort = 6001\n")
    path.chmod(0o600)
    first, second = unique_interface(), unique_interface()
    assert cli(host, "attach", "eth0", "-i", first, "-c", str(path)).returncode == 0
    done = cli(host, "attach", "eth0", "-i", second, "-c", str(path), "--metrics", "off")
    assert (done.returncode, done.stderr) == (1, "wgbpf: UDP port 6001: Address already in use\n")
    host.run(f"ip link add {second} type veth peer name {second[:13]}p")
    done = cli(host, "attach", "eth0", "-i", second, "-c", str(path), "--metrics", "off")
    assert done.returncode == 1
    assert f"interface {second} exists already" in done.stderr
    done = cli(host, "attach", "eth9", "-i", unique_interface(), "--metrics", "off")
    assert (done.returncode, done.stderr) == (1, "wgbpf: no such interface: eth9 (see `ip link`)\n")
    # The one that ran before did not notice.
    assert first in host.run("wg show interfaces")
    assert cli(host, "attach", "eth0", "-i", first).stderr == "wgbpf: eth0 is attached already\n"
    assert cli(host, "detach", "eth7", "-i", first).returncode == 1
    assert cli(host, "detach", "-i", first).returncode == 0
    assert cli(host, "detach", "-i", first).stderr.startswith(f"wgbpf: no controller is running for {first}")


def test_without_root_it_says_so(host: Host) -> None:
    # Root in name only: another user might not even be able to read the program.
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    name = unique_interface()
    done = host.try_run([*command, sys.executable, "-m", "wgbpf.cli", "attach", "eth0", "-i", name])
    assert done.returncode == 3
    assert "root (CAP_NET_ADMIN)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_usage_errors_end_with_two(host: Host) -> None:
    for arguments in (
        ["attach"],
        ["attach", "eth0", "--datapath", "warp"],
        ["attach", "eth0", "-i", "a/b"],
        ["fly"],
    ):
        assert cli(host, *arguments).returncode == (1 if arguments == ["fly!"] else 2), arguments


def test_a_data_path_that_is_not_here_ends_with_three(host: Host) -> None:
    done = cli(host, "attach", "eth0", "-i", unique_interface(), "--datapath", "kernel")
    assert done.returncode == 3
    assert "kernel" in done.stderr


def test_reload_keeps_the_running_configuration_when_the_file_is_bad(lab: Lab, tmp_path: Path) -> None:
    a, b = lab.host("a"), lab.host("b")
    lab.link(a, b)
    path = tmp_path / "w.conf"
    path.write_text(f"[Interface]\nPrivateKey = {KEY}\nListenPort = 6002\n[Peer]\nPublicKey = {PEER}\n")
    path.chmod(0o600)
    name = unique_interface()
    assert cli(a, "attach", "eth0", "-i", name, "-c", str(path)).returncode == 0
    before = a.run(["wg", "showconf", name])
    path.write_text(path.read_text() + "Bogus = 1\n")
    done = cli(a, "reload", "-i", name)
    assert done.returncode == 1
    assert f"{path}:6: Bogus: unknown key" in done.stderr
    assert a.run(["wg", "showconf", name]) == before
    text = path.read_text().replace("Bogus = 1", "AllowedIPs = 10.5.0.0/16\n# Name = office")
    path.write_text(text)
    assert cli(a, "reload", "-i", name).returncode == 0
    assert "10.5.0.0/16" in a.run(["wg", "showconf", name])
    ours = Wgbpf(lab, a, 1, interface=name)
    assert 'name="office"' in ours.metrics()

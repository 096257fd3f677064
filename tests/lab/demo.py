"""The story of `make demo`: two hosts, one tunnel, real packets.

`python -m tests.lab.demo [--keep | --end]`
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from wgbpf.config.keys import decode_key, encode_key, pubkey
from wgbpf.launch import STATE_DIRECTORY

from .lab import Host, LabError, delete_namespace, wait_until

ROUTER, PEER = "wgbpf-demo-router", "wgbpf-demo-peer"
OURS, THEIRS = "wgdemo0", "wgdemo1"
_FILES = Path(tempfile.gettempdir()) / "wgbpf-demo"
_NETNS = Path("/run/netns")
_SHOWN_METRICS = (
    "wgbpf_packets_total",
    "wgbpf_handshakes_total",
    "wgbpf_peers{",
    "wgbpf_peer_last_handshake",
)


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(
    host: Host, command: str, keep: Callable[[str], bool] = lambda line: True, timeout: float = 30
) -> str:
    """Run a command as the reader would, and print what it printed. Raises LabError when it fails."""
    print(f"{host.name}# {command}", flush=True)
    text = host.run(command, timeout=timeout)
    for line in text.splitlines():
        if keep(line):
            print(f"    {line}")
    return text


def end() -> None:
    """Take away whatever an earlier demo left."""
    for name in (ROUTER, PEER):
        if (_NETNS / name).exists():
            delete_namespace(name)
    shutil.rmtree(_FILES, ignore_errors=True)
    (STATE_DIRECTORY / f"{OURS}.tai64n").unlink(missing_ok=True)


def build() -> tuple[Host, Host]:
    router, peer = Host("router", ROUTER), Host("peer", PEER)
    for host in (router, peer):
        subprocess.run(["ip", "netns", "add", host.namespace], check=True)
        host.run("ip link set lo up")
    router.run(f"ip link add eth0 type veth peer name eth0 netns {PEER}")
    for host, address in ((router, "203.0.113.1/24"), (peer, "203.0.113.2/24")):
        host.run(f"ip addr add {address} dev eth0")
        host.run("ip link set eth0 up")
        # As the driver of a NIC: it takes the frames that XDP redirects to it.
        host.run("ethtool -K eth0 gro on")
    _FILES.mkdir(mode=0o700)
    return router, peer


def write_configs() -> None:
    """What an administrator would write on both hosts."""
    keys = [
        subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip()
        for _ in "12"
    ]
    public = [encode_key(pubkey(decode_key(key))) for key in keys]
    ours, theirs = _FILES / "router.conf", _FILES / "peer.conf"
    ours.write_text(
        f"[Interface]\nPrivateKey = {keys[0]}\nListenPort = 51820\nAddress = 10.10.0.1/24\n\n"
        f"[Peer]\n# Name = road-warrior\nPublicKey = {public[1]}\nAllowedIPs = 10.10.0.2/32\n"
    )
    theirs.write_text(
        f"[Interface]\nPrivateKey = {keys[1]}\n\n"
        f"[Peer]\nPublicKey = {public[0]}\nAllowedIPs = 10.10.0.0/24\nEndpoint = 203.0.113.1:51820\n"
    )
    for path in (ours, theirs):
        path.chmod(0o600)


def start_peer(peer: Host) -> None:
    """wireguard-go, an implementation that knows nothing of wgbpf."""
    peer.run(f"wireguard-go {THEIRS}", env={"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1"})
    peer.run(f"wg setconf {THEIRS} {_FILES / 'peer.conf'}")
    peer.run(f"ip addr add 10.10.0.2/24 dev {THEIRS}")
    peer.run(f"ip link set {THEIRS} up")


def story(router: Host, peer: Host) -> None:
    say("Two hosts, joined by a cable: a router (wgbpf) and a peer (wireguard-go)")
    show(router, "ip -brief addr show eth0")
    show(peer, "ip -brief addr show eth0")
    write_configs()
    say("What the router has for it")
    show(router, "wgbpf doctor eth0")
    say("The router becomes a WireGuard endpoint")
    show(router, f"wgbpf attach eth0 -i {OURS} -c {_FILES / 'router.conf'}")
    start_peer(peer)
    say("The peer pings through the tunnel: the first packet starts the handshake and is not lost")
    if " 0% packet loss" not in show(peer, "ping -c 4 -i 0.2 10.10.0.1"):
        raise LabError("packets were lost")
    say("wg(8) sees it as any other WireGuard interface")
    if "latest handshake" not in show(router, f"wg show {OURS}"):
        raise LabError("there was no handshake")
    say("One TCP flow, three seconds")
    server = router.start(["iperf3", "-s", "-1", "-B", "10.10.0.1", "--forceflush"])
    wait_until(lambda: "listening" in server.output, 5, "iperf3 listens")
    show(peer, "iperf3 -c 10.10.0.1 -t 3", lambda line: "sender" in line or "receiver" in line)
    server.wait(5)
    say("What wgbpf says")
    show(router, f"wgbpf status {OURS}")
    say("What Prometheus gets from http://127.0.0.1:9586/metrics")
    script = "import urllib.request as u;print(u.urlopen('http://127.0.0.1:9586/metrics').read().decode())"
    text = router.run([sys.executable, "-c", script])
    print("    " + "\n    ".join(line for line in text.splitlines() if line.startswith(_SHOWN_METRICS)))


def farewell(router: Host) -> None:
    say("Detach: the system is as it was")
    show(router, f"wgbpf detach -i {OURS}")
    show(router, "ip -brief link")


def explain_keep() -> None:
    say("Both hosts stay up. To look around:")
    for host, command in (
        (ROUTER, f"wgbpf status {OURS}"),
        (ROUTER, f"wg show {OURS}"),
        (PEER, "ping 10.10.0.1"),
    ):
        print(f"    nsenter --net={_NETNS / host} {command}")
    print("To end them:\n    make demo-end")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the hosts up at the end")
    parser.add_argument("--end", action="store_true", help="end what --keep left")
    options = parser.parse_args()
    began = time.monotonic()
    end()
    if options.end:
        print("demo: ended")
        return 0
    kept = False
    try:
        router, peer = build()
        story(router, peer)
        if options.keep:
            explain_keep()
            kept = True
        else:
            farewell(router)
    except (LabError, subprocess.SubprocessError, OSError) as error:
        print(f"demo: failed: {error}", file=sys.stderr)
        return 1
    finally:
        if not kept:
            end()
    print(f"\n({time.monotonic() - began:.0f} s)\ndemo: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""WireGuard ends for the lab: wgbpf and wireguard-go behind one face."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wgbpf.config.keys import encode_key, genkey, pubkey
from wgbpf.datapath.bpffs import Pins

from .lab import Host, Lab, LabError, Process, unique_interface, wait_until

PORT = 51_820
_SOCKETS = Path("/var/run/wireguard")


@dataclass
class PeerConfig:
    public_key: str
    allowed_ips: tuple[str, ...]
    endpoint: str | None = None
    preshared_key: str | None = None
    keepalive: int | None = None

    def text(self) -> str:
        lines = ["[Peer]", f"PublicKey = {self.public_key}", f"AllowedIPs = {', '.join(self.allowed_ips)}"]
        if self.endpoint:
            lines.append(f"Endpoint = {self.endpoint}")
        if self.preshared_key:
            lines.append(f"PresharedKey = {self.preshared_key}")
        if self.keepalive:
            lines.append(f"PersistentKeepalive = {self.keepalive}")
        return "\n".join(lines) + "\n"


@dataclass
class Node:
    """One end. Inside it is 10.77.0.N and fd77::N."""

    lab: Lab
    host: Host
    number: int
    port: int = PORT
    interface: str = field(default_factory=unique_interface)
    private_key: bytes = field(default_factory=lambda: genkey(os.urandom))
    peers: list[PeerConfig] = field(default_factory=list)
    process: Process | None = None

    @property
    def public_key(self) -> str:
        return encode_key(pubkey(self.private_key))

    @property
    def inner4(self) -> str:
        return f"10.77.0.{self.number}"

    @property
    def inner6(self) -> str:
        return f"fd77::{self.number}"

    def outer(self, family: int) -> str:
        return f"{self.host.address4}:{self.port}" if family == 4 else f"[{self.host.address6}]:{self.port}"

    def add_peer(
        self,
        other: "Node",
        family: int | None = None,
        preshared_key: str | None = None,
        keepalive: int | None = None,
    ) -> None:
        """`family` 4 or 6: its outer endpoint is configured; None: the other side has to begin."""
        endpoint = None if family is None else other.outer(family)
        inner = (f"{other.inner4}/32", f"{other.inner6}/128")
        self.peers.append(PeerConfig(other.public_key, inner, endpoint, preshared_key, keepalive))

    def config(self) -> str:
        head = f"[Interface]\nPrivateKey = {encode_key(self.private_key)}\nListenPort = {self.port}\n"
        return head + "".join(peer.text() for peer in self.peers)

    def _interface_section(self) -> str:
        return self.config().partition("[Peer]")[0]

    def start(self) -> None:
        """Run the program, configure it as wg-quick would, and wait until it serves."""
        self.run_program()
        self.apply()
        self.host.run(f"ip addr replace {self.inner4}/24 dev {self.interface}")
        self.host.run(f"ip addr replace {self.inner6}/64 dev {self.interface} nodad")
        self.host.run(f"ip link set {self.interface} up")

    def apply(self) -> None:
        """(Re)configure the running program, keeping unchanged peers."""
        self.wg("syncconf", self.interface, "/dev/stdin", stdin=self.config())

    def run_program(self) -> None:
        raise NotImplementedError

    def _serves(self) -> bool:
        assert self.process is not None
        if self.process.status is not None:
            raise LabError(f"{self.process.argv}: ended with {self.process.status}\n{self.process.output}")
        return self._listens() and self.host.try_run(["wg", "show", self.interface]).returncode == 0

    def _listens(self) -> bool:
        """Asked before wg(8) is, which removes a socket that refuses it: also one that will listen in a moment."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            return sock.connect_ex(str(_SOCKETS / f"{self.interface}.sock")) == 0

    def wg(self, *arguments: str, stdin: str = "") -> str:
        return self.host.run(["wg", *arguments], stdin=stdin)

    def dump(self) -> list[list[str]]:
        """`wg show IF dump`, a list of fields a line; the first line is the interface."""
        return [line.split("\t") for line in self.wg("show", self.interface, "dump").splitlines()]

    def latest_handshake(self, other: "Node") -> int:
        """Unix time; 0: never."""
        return {line[0]: int(line[4]) for line in self.dump()[1:]}[other.public_key]

    def kill(self) -> None:
        """As a crash would end it."""
        assert self.process is not None
        self.process.stop(signal.SIGKILL)
        self.process.wait(5)
        gone = ["ip", "link", "show", self.interface]
        wait_until(lambda: self.host.try_run(gone).returncode != 0, 5, f"{self.interface} is gone")


class WireguardGo(Node):
    """The peer that needs no kernel module. `program` may name another build of it."""

    program = "wireguard-go"

    def run_program(self) -> None:
        environment = {"LOG_LEVEL": "verbose", "WG_PROCESS_FOREGROUND": "1"}
        self.process = self.host.start([self.program, "-f", self.interface], environment)
        wait_until(self._serves, 10, f"{self.program} serves {self.interface}")


class Wgbpf(Node):
    """The product. `attach` on eth0 unless told otherwise."""

    datapath = "tun"
    nics: tuple[str, ...] = ("eth0",)
    metrics_port = 9586
    options: tuple[str, ...] = ()
    environment: dict[str, str] | None = None

    def run_program(self) -> None:
        path = Path(f"/tmp/{self.interface}.conf")
        path.write_text(self._interface_section())
        path.chmod(0o600)
        self.lab.on_close(path.unlink)
        if self.datapath == "xdp":
            self.lab.on_close(Pins(self.interface).remove)
        command = [
            *(sys.executable, "-m", "wgbpf.cli", "attach", *self.nics),
            *("-i", self.interface, "-c", str(path), "--foreground", "-v"),
            *("--datapath", self.datapath),
            *self.options,
        ]
        self.process = self.host.start(command, self.environment)
        wait_until(self._serves, 20, f"wgbpf serves {self.interface}")

    def kill(self) -> None:
        """The xdp data path goes on without its controller, and so does the interface."""
        if self.datapath != "xdp":
            super().kill()
            return
        assert self.process is not None
        self.process.stop(signal.SIGKILL)

    def status(self) -> dict[str, Any]:
        text = self.host.run([sys.executable, "-m", "wgbpf.cli", "status", "--json", self.interface])
        found: dict[str, Any] = json.loads(text)[self.interface]
        return found

    def drops(self) -> dict[str, int]:
        """Reasons that are not zero."""
        return {drop["reason"]: drop["count"] for drop in self.status()["drops"]}

    def metrics(self) -> str:
        """The text of /metrics."""
        script = "import sys,urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())"
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        return self.host.run([sys.executable, "-c", script, url])


def cli(host: Host, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `wgbpf ...` in a host."""
    return host.try_run([sys.executable, "-m", "wgbpf.cli", *arguments], env=env)


def metric(text: str, name: str, **labels: str) -> float:
    """The value of one series in a /metrics text. Raises KeyError."""
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            return float(match[2])
    raise KeyError(f"{name} {labels}")

"""What is fuzzed: each target makes input from a random source and runs it. A run that raises is a finding."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path as FilePath
from random import Random

from tests.unit.protocol.sim import Sim, packet, public
from wgbpf.config import settings, uapi, wgfile
from wgbpf.config.errors import ConfigError
from wgbpf.config.uapi import UapiError
from wgbpf.protocol.addresses import Endpoint, Path
from wgbpf.protocol.changes import AllowedIpChange, DeviceChange, PeerChange
from wgbpf.protocol.constants import MAC_SIZE
from wgbpf.protocol.cookies import CookieMaker
from wgbpf.protocol.messages import INITIATION_SIZE, RESPONSE_SIZE


@dataclass(frozen=True)
class Target:
    make: Callable[[Random], bytes]
    run: Callable[[bytes], None]


def mutate(rand: Random, data: bytes) -> bytes:
    """Flip, cut, repeat, insert: a few of them."""
    out = bytearray(data)
    for _ in range(rand.choice((0, 1, 1, 1, 2, 4, 16))):
        at = rand.randrange(len(out) + 1)
        match rand.randrange(5):
            case 0 if at < len(out):
                out[at] ^= 1 << rand.randrange(8)
            case 1:
                del out[at : at + rand.choice((1, 4, 16, 1000))]
            case 2:
                out[at:at] = rand.randbytes(rand.choice((1, 4, 16, 64)))
            case 3:
                out[at:at] = out[max(0, at - 32) : at]
            case 4 if at < len(out):
                out[at] = rand.choice((0, 1, 2, 3, 4, 0x45, 0x60, 0x7F, 0x80, 0xFF))
    return bytes(out)


_BURST = 600
"""More handshakes than put a device under load."""


class _Core:
    """Two devices in a session; every run continues the same life, so that states pile up."""

    def __init__(self) -> None:
        self._sim = Sim()
        self._again()

    def _again(self) -> None:
        self._sim = Sim()
        for name in "AB":
            # Anything may come from inside the tunnel, so anything is allowed through it.
            allowed = (AllowedIpChange(ip_network("::/0")), AllowedIpChange(ip_network("0.0.0.0/0")))
            other = self._sim.other(name)
            change = DeviceChange(peers=(PeerChange(public(other), allowed_ips=allowed),))
            self._sim.carry_out(name, self._sim.ends[name].device.configure(change, self._sim.now))
        self._sim.send("A")
        self._sim.send("B")
        self._runs = 0

    def make(self, rand: Random) -> bytes:
        if self._runs > 2000:
            self._again()
        self._runs += 1
        sim = self._sim
        if len(sim.log) > 64:
            del sim.log[:32]
        verb = bytes([rand.randrange(8), rand.randrange(256)])
        choice = rand.randrange(6)
        if choice == 0:
            return verb + rand.randbytes(rand.choice((0, 1, 3, 4, 31, 32, 64, 92, 148, 1500)))
        if choice == 1:
            return verb + mutate(rand, packet("10.0.0.1", "10.0.0.2", rand.randrange(20, 1500)))
        return verb + mutate(rand, rand.choice(sim.log).data if sim.log else b"")

    def _stamped(self, name: str, payload: bytes, number: int) -> bytes:
        """Garbage with a good mac1: it gets as far as the queue, the cookie gate and Noise."""
        kind, size = (b"\1", INITIATION_SIZE) if payload[:1] < b"\x80" else (b"\2", RESPONSE_SIZE)
        body = kind + bytes(3) + number.to_bytes(4, "little") + payload[8:]
        body = body.ljust(size, b"\0")[: size - 2 * MAC_SIZE]
        return CookieMaker(public(name)).stamp(body, self._sim.now)

    def run(self, data: bytes) -> None:
        sim = self._sim
        name = "AB"[data[0] & 1]
        device = sim.ends[name].device
        payload = data[2:]
        port = int(data[1]) or 65_535
        path = Path(Endpoint(IPv6Address(data[1]) if data[1] & 1 else IPv4Address(data[1]), port))
        match data[0] >> 1:
            case 0:
                sim.carry_out(name, device.send(payload, sim.now))
            case 1:
                # A sealed packet with anything inside it: the peer may be hostile.
                pair = sim.ends[sim.other(name)].device._state.peers[0].keypairs.current
                if pair is not None and pair.may_send(sim.now):
                    sim.carry_out(name, device.receive(pair.seal(payload, 0), path, sim.now, ds=data[1] & 3))
            case 2:
                for n in range(_BURST if data[1] == 0xFF else 1):
                    sim.carry_out(name, device.receive(self._stamped(name, payload, n), path, sim.now))
            case _:
                sim.carry_out(name, device.receive(payload, path, sim.now, ds=data[1] & 3))
        sim.carry_out(name, device.handle_handshakes(sim.now, _BURST))
        if data[1] < 20:
            sim.advance(data[1] * data[1] / 4)
        sim.settle()
        sim.ends[name].actions.clear()
        sim.ends[name].delivered.clear()


_UAPI_WORDS = [
    *(b"private_key=", b"listen_port=", b"fwmark=", b"replace_peers=true", b"public_key=", b"remove=true"),
    *(b"update_only=true", b"preshared_key=", b"endpoint=", b"persistent_keepalive_interval=", b"=", b"-"),
    *(b"replace_allowed_ips=true", b"allowed_ip=", b"protocol_version=1", b"[::1]:1", b"1.2.3.4:5", b"/0"),
    *(b"00" * 32, b"f" * 64, b"::/128", b"10.0.0.0/8", b"65535", b"0x10", b"off", b"%1", b"\xff", b"\0"),
]
_FILE_WORDS = [
    *(b"[Interface]", b"[Peer]", b"PrivateKey", b"PublicKey", b"AllowedIPs", b"Endpoint", b"Address", b"MTU"),
    *(
        b"PersistentKeepalive",
        b"ListenPort",
        b"FwMark",
        b"Table",
        b"SaveConfig",
        b"DNS",
        b"PostUp",
        b"# Name = x",
    ),
    *(b" = ", b"=", b"#", b",", b" ", b"\n", b"10.0.0.0/8", b"::/0", b"[fe80::1%eth0]:5", b"host:1", b"off"),
    *(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", b"true", b"1420", b"0x1", b"\xc3\xa9", b"\xff", b"\0"),
]


def _words(words: list[bytes], separators: list[bytes]) -> Callable[[Random], bytes]:
    def make(rand: Random) -> bytes:
        parts = [rand.choice(words) + rand.choice(separators) for _ in range(rand.randrange(40))]
        return mutate(rand, b"".join(parts))

    return make


def _run_uapi(data: bytes) -> None:
    try:
        change = uapi.parse_set(data)
    except UapiError as error:
        if error.errno >= 0:
            raise AssertionError("a refusal is a negative errno") from error
    else:
        sim = Sim()
        sim.ends["A"].device.configure(change, sim.now)
        uapi.format_get(sim.ends["A"].device)


def _run_config(data: bytes) -> None:
    here = FilePath("w.conf")
    try:
        wgfile.parse(here, data).to_change(lambda host: Endpoint(IPv4Address(1), host.port))
    except ConfigError as error:
        if "\n" in str(error):
            raise AssertionError("an error is one line") from error
    with contextlib.suppress(ConfigError):
        settings.parse(here, data.decode(errors="replace"), "wg0")


_core = _Core()
TARGETS = {
    "core": Target(_core.make, _core.run),
    "uapi": Target(_words(_UAPI_WORDS, [b"\n", b"\n", b""]), _run_uapi),
    "config": Target(_words(_FILE_WORDS, [b"", b"", b"\n"]), _run_config),
}

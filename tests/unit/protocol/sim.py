"""Two devices face to face: a virtual clock, a link that can be cut, a log of what was on it.

Time moves only on request and jumps from one announced deadline to the next, which proves the deadlines
complete: a timer that `next_deadline` does not tell never fires here.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network

from wgbpf.protocol.actions import (
    Action,
    DeliverPacket,
    Dropped,
    HandshakeEnded,
    InstallSession,
    RetireSession,
    SendDatagram,
    Traffic,
    Transmit,
)
from wgbpf.protocol.addresses import Endpoint, Path
from wgbpf.protocol.changes import AllowedIpChange, DeviceChange, PeerChange
from wgbpf.protocol.crypto import PrivateKey, Secret
from wgbpf.protocol.device import Device
from wgbpf.protocol.keypairs import Keypair
from wgbpf.protocol.noise import TransportKeys

KINDS = {1: "initiation", 2: "response", 3: "cookie", 4: "data"}
WALL = 1_700_000_000 * 10**9


class Rand:
    """A stream of bytes that is the same every time."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0

    def __call__(self, count: int) -> bytes:
        out = b""
        while len(out) < count:
            self._count += 1
            out += hashlib.sha256(self._seed + self._count.to_bytes(8, "big")).digest()
        return out[:count]


def key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def public(name: str) -> bytes:
    return PrivateKey(key(name)).public


def packet(source: str, target: str, size: int = 64) -> bytes:
    """An IPv4 packet whose header says what is in it."""
    head = bytes([0x45, 0]) + size.to_bytes(2, "big") + bytes(8)
    return head + IPv4Address(source).packed + IPv4Address(target).packed + bytes(size - 20)


@dataclass
class Sent:
    at: float
    by: str
    kind: str
    data: bytes = field(repr=False)
    path: Path = field(repr=False)


class End:
    """A device, where it is, and what happened to it. With `offload`, a data path of a few lines."""

    def __init__(self, name: str, number: int, offload: bool) -> None:
        self.name = name
        self.inner = f"10.0.0.{number}"
        self.endpoint = Endpoint(IPv4Address(f"192.0.2.{number}"), 51820)
        self.device = Device(Rand(name), offload=offload)
        self.device.set_wall_clock(WALL)
        self.offload = offload
        self.delivered: list[bytes] = []
        self.drops: Counter[str] = Counter()
        self.ended: list[tuple[str, str]] = []
        self.actions: list[Action] = []
        self.sessions: dict[int, Keypair] = {}
        self.sending: Keypair | None = None
        self.unconfirmed: Keypair | None = None
        self.traffic = Traffic(0)

    @property
    def handshake_ns(self) -> int:
        return self.device.peers()[0].last_handshake_ns


class Sim:
    """Ends "A" and "B". `delay` is the link's, one way, seconds."""

    def __init__(self, offload: bool = False, delay: float = 0.0) -> None:
        self.now = 1000.0
        self.delay = delay
        self.cut: set[str] = set()
        """Names of ends whose datagrams are lost."""
        self.log: list[Sent] = []
        self.ends = {"A": End("A", 1, offload), "B": End("B", 2, offload)}
        self._flying: list[tuple[float, int, str, bytes, Path, int]] = []
        self._sequence = 0
        for name in self.ends:
            self.carry_out(name, self.ends[name].device.configure(self._config(name), self.now))

    @classmethod
    def connected(cls, offload: bool = False) -> "Sim":
        """A initiated, both ends have the session, and it is quiet."""
        sim = cls(offload)
        sim.send("A")
        sim.advance(0.01)
        sim.send("B")
        sim.advance(60)
        sim.forget()
        return sim

    def other(self, name: str) -> str:
        return "B" if name == "A" else "A"

    def _config(self, name: str) -> DeviceChange:
        peer = self.ends[self.other(name)]
        allowed = (AllowedIpChange(ip_network(f"{peer.inner}/32")),)
        change = PeerChange(public(peer.name), endpoint=peer.endpoint, allowed_ips=allowed)
        return DeviceChange(private_key=Secret(key(name)), peers=(change,))

    def change(self, name: str, **values: object) -> None:
        """Change the one peer of an end."""
        peer = PeerChange(public(self.other(name)), **values)  # type: ignore[arg-type]
        self.carry_out(name, self.ends[name].device.configure(DeviceChange(peers=(peer,)), self.now))

    # --- what happens ---

    def send(self, name: str, size: int = 64) -> None:
        end, peer = self.ends[name], self.ends[self.other(name)]
        data = packet(end.inner, peer.inner, size)
        if end.offload and end.sending is not None and end.sending.may_send(self.now):
            self._seal(end, end.sending, data)
            self._report(end)
        elif end.offload:
            self.carry_out(name, end.device.stage(0, [data], self.now))
        else:
            self.carry_out(name, end.device.send(data, self.now))
        self.settle()

    def receive(self, name: str, data: bytes, path: Path | None = None, ds: int = 0) -> list[Action]:
        """Put a datagram in front of an end, now; returns what it did at once."""
        end = self.ends[name]
        path = path or Path(self.ends[self.other(name)].endpoint)
        if end.offload and data[:1] == b"\x04" and len(data) >= 32:
            self._open(end, data, path)
            return []
        actions = end.device.receive(data, path, self.now, ds)
        while end.device.backlog:
            actions += end.device.handle_handshakes(self.now)
        self.carry_out(name, actions)
        return actions

    def settle(self) -> None:
        """Deliver what is due now."""
        while self._flying and self._flying[0][0] <= self.now:
            _, _, name, data, path, ds = self._flying.pop(0)
            self.receive(name, data, path, ds)

    def advance(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end_time = self.now + seconds
        self.settle()
        while True:
            dues = [d for e in self.ends.values() if (d := e.device.next_deadline()) is not None]
            dues += [self._flying[0][0]] if self._flying else []
            if not dues or min(dues) > end_time:
                break
            self.now = max(self.now, min(dues))
            self.settle()
            for name, end in self.ends.items():
                due = end.device.next_deadline()
                if due is not None and due <= self.now:
                    self._report(end)
                    self.carry_out(name, end.device.tick(self.now))
            self.settle()
        self.now = end_time

    def carry_out(self, name: str, actions: list[Action]) -> None:
        end = self.ends[name]
        for action in actions:
            end.actions.append(action)
            match action:
                case SendDatagram(data, path, ds):
                    self.fly(name, data, path, ds)
                case DeliverPacket(_, data):
                    end.delivered.append(data)
                case Dropped(reason):
                    end.drops[reason] += 1
                case HandshakeEnded(_, role, result):
                    end.ended.append((role, result))
                case InstallSession(s) if end.offload:
                    keys = TransportKeys(
                        s.send_key, s.receive_key, s.local_index, s.remote_index, s.initiator
                    )
                    pair = end.sessions[s.local_index] = Keypair(keys, s.created)
                    if s.initiator:
                        end.sending, end.unconfirmed = pair, None
                    else:
                        end.unconfirmed = pair
                case RetireSession(index) if end.offload:
                    gone = end.sessions.pop(index)
                    end.sending = None if end.sending is gone else end.sending
                    end.unconfirmed = None if end.unconfirmed is gone else end.unconfirmed
                case Transmit(index, packets):
                    for data in packets:
                        self._seal(end, end.sessions[index], data)

    def fly(self, name: str, data: bytes, path: Path, ds: int) -> None:
        kind = "keepalive" if len(data) == 32 and data[0] == 4 else KINDS[data[0]]
        self.log.append(Sent(self.now, name, kind, data, path))
        if name in self.cut:
            return
        self._sequence += 1
        back = Path(self.ends[name].endpoint)
        self._flying.append((self.now + self.delay, self._sequence, self.other(name), data, back, ds))
        self._flying.sort(key=lambda item: item[:2])

    # --- the data path of an offloading end ---

    def _seal(self, end: End, pair: Keypair, data: bytes) -> None:
        path = Path(self.ends[self.other(end.name)].endpoint)
        sealed = pair.seal(data, 1420)
        t = end.traffic
        end.traffic = replace(
            t,
            tx_bytes=t.tx_bytes + len(sealed),
            tx_packets=t.tx_packets + 1,
            last_sent=self.now,
            last_data_sent=self.now if data else t.last_data_sent,
            unanswered_sent=(t.unanswered_sent or self.now) if data else t.unanswered_sent,
            unanswered_received=None,
            send_counter=pair.counter,
        )
        self.fly(end.name, sealed, path, 0)

    def _open(self, end: End, data: bytes, path: Path) -> None:
        pair = end.sessions.get(int.from_bytes(data[4:8], "little"))
        if pair is None:
            end.drops["unknown_index"] += 1
            return
        plain = pair.open(int.from_bytes(data[8:16], "little"), data[16:], self.now)
        t = end.traffic
        end.traffic = replace(
            t,
            rx_bytes=t.rx_bytes + len(data),
            rx_packets=t.rx_packets + 1,
            last_received=self.now,
            last_data_received=self.now if plain else t.last_data_received,
            unanswered_sent=None,
            unanswered_received=(t.unanswered_received or self.now) if plain else t.unanswered_received,
        )
        if plain:
            end.delivered.append(plain[: int.from_bytes(plain[2:4], "big")])
        if pair is end.unconfirmed:
            end.sending, end.unconfirmed = pair, None
            self.carry_out(end.name, end.device.confirmed(pair.local_index, self.now))
        self._report(end)

    def _report(self, end: End) -> None:
        if end.offload:
            self.carry_out(end.name, end.device.report([end.traffic], self.now))

    # --- what was seen ---

    def forget(self) -> None:
        self.log.clear()
        for end in self.ends.values():
            end.delivered.clear()
            end.drops.clear()
            end.ended.clear()
            end.actions.clear()

    def sent(self, name: str) -> list[str]:
        return [s.kind for s in self.log if s.by == name]

    def times(self, name: str, kind: str) -> list[float]:
        return [s.at for s in self.log if s.by == name and s.kind == kind]

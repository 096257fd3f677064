"""What the controller writes into and reads from the maps of the XDP programs."""

import ctypes
import mmap
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ..protocol.actions import Session, Traffic
from ..protocol.addresses import Address, Endpoint, Local, Path
from ..protocol.allowedips import Network
from . import abi
from .libbpf import BPF_F_LOCK, Map, possible_cpus

_NS = 1_000_000_000
_KEY = 4
_TRAFFIC = ctypes.sizeof(abi.Traffic)
_SENDING_WORDS = ctypes.sizeof(abi.Sending) // 8


def _key(number: int) -> bytes:
    return number.to_bytes(_KEY, "little")


def _ns(seconds: float) -> int:
    return int(seconds * _NS)


def _seconds(ns: int) -> float | None:
    return ns / _NS if ns else None


class Shared:
    """An array map in this process's memory."""

    def __init__(self, map_: Map) -> None:
        size = -(-map_.value_size // 8) * 8 * map_.max_entries
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(map_.fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.view = memoryview(self._memory)

    def close(self) -> None:
        self.view.release()
        self._memory.close()


def pack_path(path: Path | None) -> abi.Endpoint:
    entry = abi.Endpoint()
    if path is None:
        return entry
    remote, local = path.remote, path.local
    entry.family = socket.AF_INET if remote.address.version == 4 else socket.AF_INET6
    _fill(entry.port, remote.port.to_bytes(2, "big"))
    _fill(entry.remote, remote.address.packed)
    if local is not None and local.address.version == remote.address.version:
        _fill(entry.local, local.address.packed)
        entry.ifindex = local.ifindex
        entry.local_known = 1
    return entry


def _fill(field: "ctypes.Array[ctypes.c_uint8]", value: bytes) -> None:
    field[: len(value)] = list(value)


def unpack_path(event: abi.Event | abi.Endpoint) -> Path:
    remote, local = bytes(event.remote), bytes(event.local)
    port = int.from_bytes(bytes(event.port), "big")
    if event.family == socket.AF_INET:
        address: Address = IPv4Address(remote[:4])
        ours: Address = IPv4Address(local[:4])
    else:
        address, ours = IPv6Address(remote), IPv6Address(local)
    scope = event.ifindex if address.version == 6 and address.is_link_local else 0
    return Path(Endpoint(address, port, scope), Local(ours, event.ifindex) if event.local_known else None)


class XdpMaps:
    """Peers are numbered from 0 below `max_peers`, sessions by the low bits of their index."""

    def __init__(self, maps: dict[str, Map]) -> None:
        self._maps = maps
        self._slot_mask = maps["sessions"].max_entries - 1
        self.max_peers = maps["endpoints"].max_entries
        self._traffic = Shared(maps["traffic"])
        self._sending = Shared(maps["sending"])
        self._sending_words = self._sending.view.cast("Q")
        self._control = Shared(maps["control"])
        self._control_words = self._control.view.cast("I")
        self._cpus = possible_cpus()
        self._seen: dict[int, bytes] = {}
        self._prefixes: dict[int, set[Network]] = {}
        self._owner: dict[Network, int] = {}
        self._locals: set[bytes] = set()

    def close(self) -> None:
        self._sending_words.release()
        self._control_words.release()
        for shared in (self._traffic, self._sending, self._control):
            shared.close()

    # --- settings ---

    def set_control(self, name: str, value: int) -> None:
        self._control_words[getattr(abi.Control, name).offset // 4] = value

    def control(self, name: str) -> int:
        return int(self._control_words[getattr(abi.Control, name).offset // 4])

    def set_locals(self, addresses: Iterable[Address]) -> None:
        """Our own outer addresses."""
        wanted = {address.packed.ljust(16, b"\0") for address in addresses}
        for packed in wanted - self._locals:
            self._maps["locals"].update(packed, _key(1))
        for packed in self._locals - wanted:
            self._maps["locals"].delete(packed)
        self._locals = wanted

    def set_nic(self, ifindex: int, usable: bool) -> None:
        if usable:
            self._maps["nics"].update(_key(ifindex), _key(ifindex))
        else:
            self._maps["nics"].delete(_key(ifindex))

    def set_cpu(self, cpu: int, queue: int, program_fd: int) -> None:
        self._maps["cpus"].update(_key(cpu), _key(queue) + _key(program_fd))

    def cpumap_number(self) -> int:
        """The kernel's id of it, which is in the names of its threads."""
        return self._maps["cpus"].number()

    # --- peers ---

    def adopt_peer(self, peer: int) -> None:
        """Go on with what an earlier process knew of it."""
        self._seen[peer] = b""
        self._prefixes[peer] = set()

    def add_peer(self, peer: int, public_key: bytes = b"") -> None:
        """Forget what an earlier peer in this place did."""
        self._maps["peer_keys"].update(_key(peer), public_key.ljust(32, b"\0"))
        self._traffic.view[peer * _TRAFFIC : (peer + 1) * _TRAFFIC] = bytes(_TRAFFIC)
        self._seen[peer] = bytes(_TRAFFIC)
        self.set_sending(peer, None)
        self._prefixes[peer] = set()

    def remove_peer(self, peer: int) -> None:
        if peer not in self._prefixes:
            self.adopt_peer(peer)
        self._maps["peer_keys"].update(_key(peer), bytes(32))
        self.set_prefixes(peer, ())
        self.set_endpoint(peer, None)
        self.set_sending(peer, None)
        del self._prefixes[peer]
        del self._seen[peer]

    def has_peer(self, peer: int) -> bool:
        return peer in self._prefixes

    @property
    def peers(self) -> int:
        return len(self._prefixes)

    def set_endpoint(self, peer: int, path: Path | None) -> None:
        self._maps["endpoints"].update(_key(peer), bytes(pack_path(path)), BPF_F_LOCK)

    def set_prefixes(self, peer: int, networks: Iterable[Network]) -> None:
        """New ones first, so that an address that stays never lacks an owner."""
        wanted = set(networks)
        ours = self._prefixes[peer]
        for network in wanted - ours:
            previous = self._owner.get(network)
            if previous is not None:
                self._prefixes[previous].discard(network)
            self._trie(network).update(_prefix(network), _key(peer))
            self._owner[network] = peer
        for network in ours - wanted:
            self._trie(network).delete(_prefix(network))
            del self._owner[network]
        self._prefixes[peer] = wanted

    def _trie(self, network: Network) -> Map:
        return self._maps["allowed4" if network.version == 4 else "allowed6"]

    def peer_keys(self) -> dict[int, bytes]:
        """Public keys by position, of the peers that an earlier process left."""
        keys = self._maps["peer_keys"]
        found = ((n, keys.lookup(_key(n))) for n in range(self.max_peers))
        return {n: key for n, key in found if key and any(key)}

    def endpoint(self, peer: int) -> Path | None:
        value = self._maps["endpoints"].lookup(_key(peer), flags=BPF_F_LOCK)
        entry = None if value is None else abi.Endpoint.from_buffer_copy(value)
        return None if entry is None or not entry.family else unpack_path(entry)

    # --- sessions ---

    def all_sessions(self) -> list[abi.Session]:
        sessions = self._maps["sessions"]
        values = (sessions.lookup(_key(slot), flags=BPF_F_LOCK) for slot in range(self._slot_mask + 1))
        entries = (abi.Session.from_buffer_copy(value) for value in values if value is not None)
        return [entry for entry in entries if entry.state]

    def write_session(self, session: Session, peer: int) -> None:
        """Into its slot, whole; `peer` is the position. A responder's waits for its first packet."""
        entry = abi.Session()
        entry.local_index, entry.remote_index = session.local_index, session.remote_index
        entry.peer = peer
        entry.state = abi.State.LIVE if session.initiator else abi.State.UNCONFIRMED
        entry.created = _ns(session.created)
        _fill(entry.send_key, bytes(session.send_key))
        _fill(entry.receive_key, bytes(session.receive_key))
        self._maps["sessions"].update(_key(session.local_index & self._slot_mask), bytes(entry), BPF_F_LOCK)
        ctypes.memset(ctypes.addressof(entry), 0, ctypes.sizeof(entry))

    def clear_session(self, local_index: int) -> None:
        empty = bytes(ctypes.sizeof(abi.Session))
        self._maps["sessions"].update(_key(local_index & self._slot_mask), empty, BPF_F_LOCK)

    def read_session(self, local_index: int) -> abi.Session | None:
        value = self._maps["sessions"].lookup(_key(local_index & self._slot_mask), flags=BPF_F_LOCK)
        entry = None if value is None else abi.Session.from_buffer_copy(value)
        return entry if entry is not None and entry.state and entry.local_index == local_index else None

    def set_sending(self, peer: int, local_index: int | None) -> None:
        # Index and validity in one store: the programs read both.
        self._sending_words[peer * _SENDING_WORDS] = 0 if local_index is None else local_index | 1 << 32
        self._sending_words[peer * _SENDING_WORDS + 1] = 0

    def sending(self, peer: int) -> int | None:
        word = self._sending_words[peer * _SENDING_WORDS]
        return word & 0xFFFF_FFFF if word >> 32 else None

    # --- facts ---

    def collect(self) -> list[Traffic]:
        """Of the peers that did something since the last call."""
        self.set_control("active", 0)
        changed = []
        view = self._traffic.view
        for peer, before in self._seen.items():
            now = view[peer * _TRAFFIC : (peer + 1) * _TRAFFIC]
            if now != before:
                self._seen[peer] = bytes(now)
                changed.append(peer)
        return [_traffic(peer, abi.Traffic.from_buffer_copy(self._seen[peer])) for peer in changed]

    def count(self, which: abi.Count) -> int:
        size = 8 * self._cpus
        value = self._maps["counts"].lookup(_key(which), size)
        if value is None:
            return 0
        return sum(int.from_bytes(value[n : n + 8], "little") for n in range(0, size, 8))

    def memory(self) -> int:
        """Bytes of the maps that grow with the number of peers."""
        names = ("sessions", "endpoints", "sending", "traffic")
        return sum(self._maps[name].value_size * self._maps[name].max_entries for name in names)


def _traffic(peer: int, t: abi.Traffic) -> Traffic:
    return Traffic(
        peer,
        t.rx_bytes,
        t.tx_bytes,
        t.rx_packets,
        t.tx_packets,
        _seconds(t.last_sent),
        _seconds(t.last_received),
        _seconds(t.last_data_sent),
        _seconds(t.last_data_received),
        _seconds(t.unanswered_sent),
        _seconds(t.unanswered_received),
        t.send_counter,
    )


def _prefix(network: IPv4Network | IPv6Network) -> bytes:
    return _key(network.prefixlen) + network.network_address.packed

"""What this machine has and lacks for wgbpf. Each check names the lack and its remedy."""

import errno
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .datapath.interface import DataPathError
from .datapath.netlink import Netlink
from .datapath.xdpfeatures import native_xdp
from .protocol.constants import DEFAULT_MTU, OUTER_OVERHEAD

_CAP_NET_ADMIN, _CAP_PERFMON, _CAP_BPF = 12, 38, 39
_BPFFS_MAGIC = "bpf"
_LEAST_MTU = 1280


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"
    """Something is missing that only some data path wants."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    level: Level
    detail: str
    remedy: str = ""


def examine(nics: list[str], port: int) -> Iterator[Check]:
    """All checks, the general ones first, then those of each NIC."""
    yield _capabilities()
    yield _tun()
    yield _kernel_wireguard()
    yield _bpf()
    yield _bpffs()
    yield _port(port)
    yield from _tools()
    if nics:
        netlink = Netlink()
        try:
            for nic in nics:
                yield from _nic(netlink, nic)
        finally:
            netlink.close()


def _capabilities() -> Check:
    effective = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    names = {_CAP_NET_ADMIN: "CAP_NET_ADMIN", _CAP_BPF: "CAP_BPF", _CAP_PERFMON: "CAP_PERFMON"}
    missing = [name for bit, name in names.items() if not effective >> bit & 1]
    if "CAP_NET_ADMIN" in missing:
        return Check("privileges", Level.FAIL, f"missing {', '.join(missing)}", "run as root")
    if missing:
        return Check(
            "privileges", Level.NOTE, f"missing {', '.join(missing)}", "the xdp data path needs them"
        )
    return Check("privileges", Level.OK, ", ".join(names.values()))


def _tun() -> Check:
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        remedy = "modprobe tun" if error.errno in (errno.ENOENT, errno.ENODEV) else "run as root"
        return Check("tun", Level.FAIL, f"/dev/net/tun: {error.strerror}", remedy)
    return Check("tun", Level.OK, "/dev/net/tun opens")


def _kernel_wireguard() -> Check:
    if Path("/sys/module/wireguard").exists():
        return Check("kernel wireguard", Level.OK, "module is loaded")
    return Check("kernel wireguard", Level.NOTE, "not loaded: the xdp and tun data paths do not need it")


def _bpf() -> Check:
    lacks = []
    jit = _read("/proc/sys/net/core/bpf_jit_enable")
    if jit == "0":
        lacks.append("the JIT is off (sysctl net.core.bpf_jit_enable=1)")
    if not Path("/sys/kernel/btf/vmlinux").exists():
        lacks.append("no BTF (/sys/kernel/btf/vmlinux)")
    release = os.uname().release
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if version < (6, 1):
        lacks.append(f"kernel {release} is older than 6.1")
    if lacks:
        return Check("bpf", Level.NOTE, "; ".join(lacks), "needed by the xdp data path")
    return Check("bpf", Level.OK, f"kernel {release}, BTF{'' if jit is None else ', JIT'}")


def _bpffs() -> Check:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    if any(fields[1] == "/sys/fs/bpf" and fields[2] == _BPFFS_MAGIC for fields in mounts):
        return Check("bpffs", Level.OK, "/sys/fs/bpf")
    return Check("bpffs", Level.NOTE, "not mounted", "mount -t bpf bpf /sys/fs/bpf")


def _port(port: int) -> Check:
    name = f"udp port {port}"
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((anywhere, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return Check(name, Level.FAIL, "in use", f"find the user with `ss -ulpn sport = :{port}`")
            if family == socket.AF_INET6 and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                return Check(name, Level.NOTE, "free; no IPv6 on this machine")
            return Check(name, Level.FAIL, error.strerror or str(error), "choose another ListenPort")
    return Check(name, Level.OK, "free")


def _tools() -> Iterator[Check]:
    for tool in ("wg", "wg-quick"):
        path = shutil.which(tool)
        if path is None:
            yield Check(tool, Level.NOTE, "not found", "apt install wireguard-tools")
        else:
            yield Check(tool, Level.OK, path)


def _nic(netlink: Netlink, nic: str) -> Iterator[Check]:
    try:
        link = netlink.link(nic)
    except DataPathError as error:
        yield Check(nic, Level.FAIL, str(error))
        return
    if link is None:
        yield Check(nic, Level.FAIL, "no such interface", "see `ip link`")
        return
    yield Check(
        nic, Level.OK if link.up else Level.NOTE, "up" if link.up else "down", _up_remedy(link.up, nic)
    )
    inner = link.mtu - OUTER_OVERHEAD
    if inner < _LEAST_MTU:
        remedy = f"IPv6 inside needs {_LEAST_MTU + OUTER_OVERHEAD} on {nic}"
        yield Check(f"{nic} mtu", Level.FAIL, f"{link.mtu} leaves {inner} for the tunnel", remedy)
    else:
        note = "" if inner >= DEFAULT_MTU else f", less than the usual {DEFAULT_MTU}"
        yield Check(f"{nic} mtu", Level.OK, f"{link.mtu}: tunnel MTU {inner}{note}")
    yield _native_xdp(nic, link.index)


def _up_remedy(up: bool, nic: str) -> str:
    return "" if up else f"ip link set {nic} up"


def _native_xdp(nic: str, index: int) -> Check:
    name = f"{nic} xdp"
    answer = native_xdp(index)
    if answer is None:
        return Check(name, Level.NOTE, "this kernel does not tell (before 6.3)")
    if answer:
        return Check(name, Level.OK, "the driver takes native XDP: xdp data path, guard")
    remedy = "--datapath tun carries packets, without a guard; --mode generic has one, slower"
    return Check(name, Level.NOTE, "no native XDP", remedy)


def _read(path: str) -> str | None:
    reader: Callable[[], str] = Path(path).read_text
    try:
        return reader().strip()
    except OSError:
        return None

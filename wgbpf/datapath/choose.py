"""Which data path: what was asked for, or the best that this machine can do."""

from .bpffs import Pins
from .interface import DataPath, DataPathError, InterfaceSpec, UnsupportedError
from .netlink import Netlink
from .tun import TunDataPath
from .tunbase import TunBase
from .without import without
from .xdp import XdpDataPath
from .xdpforeign import OccupiedError
from .xdpprograms import GENERIC

_NOT_BUILT = "the native pump is not built (needs a C compiler, OpenSSL headers): Python carries packets"


def adoptable(interface: str) -> bool:
    """Whether the xdp data path still carries it for a controller that is gone."""
    return bool(Pins(interface).names("map_"))


def make_data_path(wanted: str, spec: InterfaceSpec, netlink: Netlink) -> tuple[DataPath, list[str]]:
    """An open data path, and notes about what was passed over.

    Raises UnsupportedError when the wanted one cannot run here, DataPathError for other refusals.
    """
    if wanted == "kernel":
        raise UnsupportedError("the kernel data path is not in this version: use --datapath xdp or tun")
    if adoptable(spec.name) and wanted not in ("auto", "xdp"):
        raise DataPathError(
            f"{spec.name} is carried by the xdp data path: `wgbpf detach -i {spec.name}` first"
        )
    notes: list[str] = []
    if wanted == "xdp" or adoptable(spec.name):
        xdp = XdpDataPath(netlink)
        xdp.open(spec)
        return xdp, notes
    if wanted == "auto" and spec.nics:
        found = _natively(spec, netlink, notes)
        if found is not None:
            return found, notes
    datapath: TunBase = TunDataPath(netlink)
    if wanted != "tun-python" and "pump" not in without():
        try:
            from .tun_native import NativeTunDataPath
        except ImportError:
            notes.append(_NOT_BUILT)
        else:
            datapath = NativeTunDataPath(netlink)
    elif wanted != "tun-python":
        notes.append(_NOT_BUILT)
    datapath.open(spec)
    return datapath, notes + datapath.guard_notes()


def _natively(spec: InterfaceSpec, netlink: Netlink, notes: list[str]) -> XdpDataPath | None:
    """The xdp data path, open, where every NIC receives and sends by native XDP."""
    xdp = XdpDataPath(netlink)
    try:
        xdp.open(spec)
    except (UnsupportedError, OccupiedError) as error:
        notes.append(f"not xdp: {error}")
        return None
    if xdp.is_native or spec.mode == GENERIC:
        return xdp
    xdp.close()
    notes.append("not xdp: a NIC takes no redirected frames (--datapath xdp works all the same, slower)")
    return None

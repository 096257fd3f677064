"""Which data path: what was asked for, or the best that this machine can do."""

from .interface import DataPath, InterfaceSpec, UnsupportedError
from .netlink import Netlink
from .tun import TunDataPath
from .xdp import XdpDataPath


def make_data_path(wanted: str, spec: InterfaceSpec, netlink: Netlink) -> tuple[DataPath, list[str]]:
    """An open data path, and notes about what was passed over.

    Raises UnsupportedError when the wanted one cannot run here, DataPathError for other refusals.
    """
    if wanted == "kernel":
        raise UnsupportedError("the kernel data path is not in this version: use --datapath xdp or tun")
    if wanted == "xdp":
        datapath: DataPath = XdpDataPath(netlink)
        datapath.open(spec)
        return datapath, []
    datapath = TunDataPath(netlink)
    datapath.open(spec)
    return datapath, []

"""Which data path: what was asked for, or the best that this machine can do."""

from .interface import DataPath, InterfaceSpec, UnsupportedError
from .netlink import Netlink
from .tun import TunDataPath

_NOT_BUILT = "the native pump is not built (needs a C compiler, OpenSSL headers): Python carries packets"


def make_data_path(wanted: str, spec: InterfaceSpec, netlink: Netlink) -> tuple[DataPath, list[str]]:
    """An open data path, and notes about what was passed over.

    Raises UnsupportedError when the wanted one cannot run here, DataPathError for other refusals.
    """
    if wanted in ("kernel", "xdp"):
        raise UnsupportedError(f"the {wanted} data path is not in this version: use --datapath tun")
    notes: list[str] = []
    datapath: DataPath = TunDataPath(netlink)
    if wanted != "tun-python":
        try:
            from .tun_native import NativeTunDataPath
        except ImportError:
            notes.append(_NOT_BUILT)
        else:
            datapath = NativeTunDataPath(netlink)
    datapath.open(spec)
    return datapath, notes

"""WGBPF_WITHOUT in the environment: what the tun data path is to do without, as if the machine had it not.

For tests, for measuring what something is worth, and for finding out whether it is at fault:
`WGBPF_WITHOUT=gso,gro wgbpf attach eth0 --datapath tun`.
"""

import os
from collections.abc import Mapping
from typing import Final

from .interface import DataPathError

VARIABLE: Final = "WGBPF_WITHOUT"
WHAT: Final = {
    "pump": "the native pump",
    "simd": "our own crypto in vectors",
    "tso": "TCP and UDP super-packets from the TUN device",
    "uso": "UDP super-packets from and to the TUN device",
    "gso": "UDP_SEGMENT",
    "gro": "UDP_GRO",
}


def without(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Raises DataPathError for a name that means nothing."""
    names = frozenset(environment.get(VARIABLE, "").replace(",", " ").split())
    unknown = sorted(names - WHAT.keys())
    if unknown:
        raise DataPathError(f"{VARIABLE}: {unknown[0]}: expected some of {', '.join(WHAT)}")
    return names

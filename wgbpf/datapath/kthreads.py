"""Priority of the kernel threads that open packets.

On the CPU where a packet arrives, a soft interrupt opens it before any program runs. The threads that open it
on another CPU would share that with the programs as equals, and each packet would wait for a time slice.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

_NICE = -5


def prefer(name: str) -> None:
    """Raise all whose whole name matches the pattern; a container may see none."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if re.fullmatch(name, path.read_text().rstrip("\n")):
                os.setpriority(os.PRIO_PROCESS, int(path.parent.name), _NICE)

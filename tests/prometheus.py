"""Debian's prometheus and promtool, unpacked beside the build: installing the package would start a server."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_TOOLS = Path(__file__).parents[1] / "build" / "tools"


def tool(name: str) -> str:
    """Path of `prometheus` or `promtool`. Skips the test when it cannot be had; in CI that is a failure."""
    found = shutil.which(name)
    if found:
        return found
    path = _TOOLS / "usr" / "bin" / name
    if not path.exists():
        lack = _unpack()
        if lack is not None:
            if os.environ.get("CI") == "true":
                pytest.fail(lack)
            pytest.skip(lack)
    return str(path)


def _unpack() -> str | None:
    """None, or why it could not be done."""
    _TOOLS.mkdir(parents=True, exist_ok=True)
    for command in (["apt-get", "download", "-q", "prometheus"], ["sh", "-c", "dpkg -x prometheus_*.deb ."]):
        try:
            done = subprocess.run(
                command, cwd=_TOOLS, capture_output=True, text=True, timeout=300, check=False
            )
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            return f"prometheus cannot be had: {error}"
        if done.returncode:
            return f"prometheus cannot be had: {done.stderr.strip()}"
    return None

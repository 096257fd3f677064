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
    try:
        error = _run("apt-get", "download", "-q", "prometheus")
        if error and os.geteuid() == 0:
            # A fresh system has no package lists yet.
            error = _run("apt-get", "update", "-q") or _run("apt-get", "download", "-q", "prometheus")
        archives = sorted(_TOOLS.glob("prometheus_*.deb"), key=lambda path: path.stat().st_mtime)
        error = error or _run("dpkg", "-x", archives[-1].name, ".")
    except (FileNotFoundError, subprocess.TimeoutExpired) as failure:
        error = str(failure)
    return f"prometheus cannot be had: {error}" if error else None


def _run(*command: str) -> str:
    """What it complained about; empty when it worked."""
    done = subprocess.run(command, cwd=_TOOLS, capture_output=True, text=True, timeout=300, check=False)
    if not done.returncode:
        return ""
    return done.stderr.strip() or f"{command[0]}: exit {done.returncode}"

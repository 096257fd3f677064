"""The extension is optional: what lacks for it costs the native pump, not the installation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def _build(tmp_path: Path, **environment: str) -> tuple[str, list[Path]]:
    """What setup.py says, and the extensions it made of a copy."""
    copy = tmp_path / "copy"
    ignore = shutil.ignore_patterns("*.so", "objects", "__pycache__")
    shutil.copytree(ROOT / "wgbpf", copy / "wgbpf", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    (copy / "controller").mkdir()
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(
        command, cwd=copy, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, list(copy.rglob("*.so"))


def test_without_a_compiler(tmp_path: Path) -> None:
    said, made = _build(tmp_path, CC="/nowhere/cc")
    assert made == []
    assert "_pump" in said


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_without_openssls_headers(tmp_path: Path) -> None:
    header = tmp_path / "include/openssl/evp.h"
    header.parent.mkdir(parents=True)
    header.write_text("#error not installed\n")
    said, made = _build(tmp_path, CFLAGS=f"-I{tmp_path / 'include'}")
    assert made == []
    assert "not installed" in said

"""Every clang that is installed compiles the programs without a warning, and the kernel takes what they made."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from wgbpf.datapath.libbpf import Object

from .build import FLAGS, REPOSITORY

_COMPILERS = [name for n in range(11, 40) if shutil.which(name := f"clang-{n}")]
_REFUSED = "clang-13"
"""The verifier does not follow what it makes of the loops; `make bpf` takes 14 or later."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root")


@pytest.mark.parametrize("source", sorted((REPOSITORY / "bpf").glob("*.bpf.c")), ids=lambda path: path.name)
@pytest.mark.parametrize("compiler", _COMPILERS)
def test_it_compiles_without_warnings_and_loads(compiler: str, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "made.o"
    done = subprocess.run(
        [compiler, *FLAGS, "-c", str(source), "-o", str(target)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if compiler == _REFUSED:
        return
    made = Object(target)
    made.load()
    made.close()

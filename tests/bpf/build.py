"""Compiles BPF test programs."""

import functools
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CLANG = next(
    (c for c in (os.environ.get("CLANG", ""), "clang-19", "clang-14", "clang") if c and shutil.which(c)), ""
)

FLAGS = (
    *("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"),
    f"-I/usr/include/{sysconfig.get_config_var('MULTIARCH')}",
)


@functools.cache
def compile_bpf(source: Path) -> Path:
    target = Path(tempfile.mkdtemp(prefix="wgbpf-")) / (
        source.name.removesuffix(".c").removesuffix(".bpf") + ".o"
    )
    subprocess.run([CLANG, *FLAGS, "-c", str(source), "-o", str(target)], check=True)
    return target

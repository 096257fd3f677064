"""The pump's C under AddressSanitizer and UBSan, fuzzed for a few seconds."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECONDS = int(os.environ.get("WGBPF_FUZZ_SECONDS", "8"))


@pytest.mark.slow
def test_nothing_from_the_tun_or_the_network_makes_a_sanitizer_speak(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    program = tmp_path / "fuzz"
    sources = [
        p for p in sorted((ROOT / "wgbpf/native").glob("*.c")) if p.name not in ("module.c", "verbs.c")
    ]
    flags = [
        "-std=c11",
        "-D_GNU_SOURCE",
        "-g",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fno-omit-frame-pointer",
    ]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [
        compiler,
        *flags,
        *sanitizers,
        f"-I{ROOT / 'wgbpf/native'}",
        ROOT / "tests/native/fuzz.c",
        *sources,
    ]
    subprocess.run([*command, "-o", program, "-lcrypto", "-lpthread"], check=True)
    done = subprocess.run(
        [program, str(SECONDS), "1"], capture_output=True, text=True, timeout=SECONDS + 60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

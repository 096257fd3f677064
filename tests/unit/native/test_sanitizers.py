"""The pump's C under sanitizers: fuzzed for a few seconds, its threads at their hand-over, Poly1305 where it is delicate."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "wgbpf/native"
SECONDS = int(os.environ.get("WGBPF_FUZZ_SECONDS", "8"))
SEED = os.environ.get("WGBPF_FUZZ_SEED", "1")
_PYTHON = ("module.c", "pyaead.c", "verbs.c")
_FLAGS = (
    *("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"),
    *("-Wno-missing-field-initializers", "-fno-omit-frame-pointer"),
)
_MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_THREADS = ("-fsanitize=thread",)
_NOT_THIS_CPU = 77


def _build(program: Path, *arguments: str | Path, sanitizers: tuple[str, ...] = _MEMORY) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    flags = (*_FLAGS, *sanitizers, f"-I{NATIVE}")
    subprocess.run([compiler, *flags, *arguments, "-o", program, "-lcrypto", "-lpthread"], check=True)


def _sources() -> list[Path]:
    return [p for p in sorted(NATIVE.glob("*.c")) if p.name not in _PYTHON]


@pytest.mark.slow
def test_nothing_from_the_tun_or_the_network_makes_a_sanitizer_speak(tmp_path: Path) -> None:
    _build(tmp_path / "fuzz", ROOT / "tests/native/fuzz.c", *_sources())
    command = [tmp_path / "fuzz", str(SECONDS), SEED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


def test_the_threads_of_a_queue_pass_the_tun_on_without_losing_a_packet(tmp_path: Path) -> None:
    program = tmp_path / "threads"
    _build(program, ROOT / "tests/native/threads.c", *_sources(), sanitizers=_THREADS)
    # Where addresses are randomised by more than it expects, ThreadSanitizer does not start.
    command = ["setarch", "-R", program, "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="vectors are for x86-64; elsewhere it is OpenSSL's"
)
@pytest.mark.parametrize(
    ("source", "works", "other"),
    [("aead_avx512", "cpu_has_avx512", "aead_avx2"), ("aead_avx2", "cpu_has_avx2", "aead_avx512")],
)
def test_poly1305_carries_and_reduces(source: str, works: str, other: str, tmp_path: Path) -> None:
    program = tmp_path / "poly"
    defines = [f'-DIMPLEMENTATION="{source}.c"', f"-DWORKS={works}"]
    _build(program, *defines, ROOT / "tests/native/poly.c", NATIVE / "aead.c", NATIVE / f"{other}.c")
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == _NOT_THIS_CPU:
        pytest.skip(f"not on this CPU: {works}")
    assert done.returncode == 0, done.stdout + done.stderr

"""What Python believes of native/pump.h, asked of the compiler."""

import shutil
import subprocess
from pathlib import Path

import pytest

native = pytest.importorskip("wgbpf.native._pump", reason="the native pump is not built (make setup)")

from wgbpf.datapath import tun_native  # noqa: E402  # only where the extension is

_HERE = Path(tun_native.__file__).parents[1] / "native"


def _ask(names: list[str], tmp_path: Path) -> dict[str, int]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a compiler built the extension"
    source = tmp_path / "ask.c"
    lines = "".join(f'printf("{name} %ld\\n", (long)({name}));' for name in names)
    source.write_text(f'#include <stdio.h>\n#include "pump.h"\nint main(void) {{ {lines} return 0; }}\n')
    subprocess.run([compiler, "-D_GNU_SOURCE", f"-I{_HERE}", source, "-o", tmp_path / "ask"], check=True)
    out = subprocess.run([tmp_path / "ask"], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.rsplit(" ", 1) for line in out.splitlines())}


def test_counts_have_the_order_of_the_table(tmp_path: Path) -> None:
    prefix = {"receive": "RX", "transmit": "TX"}
    totals = ["RX_PACKETS", "RX_BYTES", "TX_PACKETS", "TX_BYTES"]
    names = totals + [f"{prefix[way]}_{reason.name}" for way, reason in tun_native.DROPS]
    facts = _ask([*names, "COUNTS", "GSO_FALLBACKS"], tmp_path)
    assert [facts[name] for name in names] == list(range(len(names)))
    assert facts["COUNTS"] == len(names) + 1


def test_events_have_the_numbers_of_the_enum(tmp_path: Path) -> None:
    facts = _ask([f"EV_{kind.name}" for kind in tun_native.Kind], tmp_path)
    assert facts == {f"EV_{kind.name}": kind.value for kind in tun_native.Kind}


def test_limits_are_those_of_the_protocol(tmp_path: Path) -> None:
    facts = _ask(["WINDOW", "DATA_OVERHEAD", "REJECT_AFTER_NS", "MESSAGE_DATA"], tmp_path)
    assert facts == {"WINDOW": 8128, "DATA_OVERHEAD": 32, "REJECT_AFTER_NS": 180 * 10**9, "MESSAGE_DATA": 4}

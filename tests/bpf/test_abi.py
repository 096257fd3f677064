"""bpf/wgbpf.h and wgbpf/datapath/abi.py, as the C compiler sees them."""

import ctypes
import subprocess
from pathlib import Path

from wgbpf.datapath import abi

from .build import REPOSITORY


def _facts(tmp_path: Path, expressions: list[str]) -> dict[str, int]:
    lines = [f'printf("%s=%llu\\n", "{e}", (unsigned long long)({e}));' for e in expressions]
    source = '#include <stddef.h>\n#include <stdio.h>\n#include "wgbpf.h"\nint main(void) {\n' + "\n".join(
        lines
    )
    (tmp_path / "facts.c").write_text(source + "\nreturn 0; }\n")
    program = tmp_path / "facts"
    compiler = ["cc", f"-I{REPOSITORY / 'bpf'}", "-o", str(program), str(tmp_path / "facts.c")]
    subprocess.run(compiler, check=True)
    text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, _, value in (line.rpartition("=") for line in text.splitlines())}


def test_every_size_and_offset(tmp_path: Path) -> None:
    expected = {}
    for name, mirror in abi.STRUCTS.items():
        expected[f"sizeof(struct {name})"] = ctypes.sizeof(mirror)
        for field, *_ in mirror._fields_:
            expected[f"offsetof(struct {name}, {field})"] = getattr(mirror, field).offset
    assert _facts(tmp_path, list(expected)) == expected


def test_every_enum_value_and_constant(tmp_path: Path) -> None:
    expected = {prefix + member.name: member.value for prefix, enum in abi.ENUMS for member in enum}
    expected["WG_COUNTS"] = len(abi.Count)
    for name, value in vars(abi).items():
        if isinstance(value, int) and name.isupper() and name != "ABI":
            expected[f"WG_{name}"] = value
    expected["WGBPF_ABI"] = abi.ABI
    assert _facts(tmp_path, list(expected)) == expected

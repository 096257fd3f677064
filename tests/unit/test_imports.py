"""The import directions of the design, and the size of files."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What a module may import of our own packages: prefix of the importer -> prefixes of the imported.
ALLOWED: dict[str, tuple[str, ...]] = {
    "wgbpf.protocol": ("wgbpf.protocol",),
    "wgbpf.datapath": (
        "wgbpf.datapath",
        # The core's types and leaves, none of its rules.
        *(
            f"wgbpf.protocol.{leaf}"
            for leaf in (
                *("actions", "addresses", "allowedips", "constants", "crypto", "drops", "inner"),
                *("keypairs", "messages", "noise", "replay"),
            )
        ),
        "wgbpf.native",
    ),
    "wgbpf.config": ("wgbpf.config", "wgbpf.protocol"),
    "wgbpf.metrics": (
        *("wgbpf.metrics", "wgbpf.datapath.interface"),
        *(f"wgbpf.protocol.{leaf}" for leaf in ("actions", "allowedips", "drops")),
        "wgbpf.__version__",
    ),
    "wgbpf.cli": ("wgbpf",),
    "wgbpf": ("wgbpf",),
    "controller": ("controller", "wgbpf"),
}
PURE_STDLIB = {
    *("abc", "base64", "collections", "dataclasses", "enum", "functools", "hashlib", "heapq", "hmac"),
    *("ipaddress", "itertools", "struct", "typing"),
}


def imports(source: str, module: str, is_package: bool) -> set[str]:
    """Absolute names of everything a module imports, `from x import y` as x.y."""
    found: set[str] = set()
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def modules(package: str) -> Iterable[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def _is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def offences(module: str, names: set[str]) -> list[str]:
    """What a module imports and must not."""
    rule = ALLOWED[max((p for p in ALLOWED if _is_under(module, p)), key=len)]
    ours = {name for name in names if _is_under(name, "wgbpf") or _is_under(name, "controller")}
    bad = [name for name in ours if not any(_is_under(name, prefix) for prefix in rule)]
    if _is_under(module, "wgbpf.protocol"):
        foreign = {name.partition(".")[0] for name in names - ours}
        extra = {"cryptography"} if module == "wgbpf.protocol.crypto" else set()
        bad += sorted(foreign - PURE_STDLIB - extra)
    return bad


ALL = [*modules("wgbpf"), *modules("controller")]


@pytest.mark.parametrize(("module", "path"), ALL, ids=[name for name, _ in ALL])
def test_only_the_arrows_of_the_design(module: str, path: Path) -> None:
    assert offences(module, imports(path.read_text(), module, path.name == "__init__.py")) == []


def test_only_one_module_imports_cryptography() -> None:
    users = [
        m for m, path in ALL if any(_is_under(n, "cryptography") for n in imports(path.read_text(), m, False))
    ]
    assert users == ["wgbpf.protocol.crypto"]


def test_the_core_has_no_import_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for module, path in modules("wgbpf/protocol"):
        names = imports(path.read_text(), module, path.name == "__init__.py")
        graph[module] = {
            m for m, _ in modules("wgbpf/protocol") if m != module and any(_is_under(n, m) for n in names)
        }
        graph[module].discard("wgbpf.protocol")
    while graph:
        leaves = [m for m, needs in graph.items() if not needs & graph.keys()]
        assert leaves, f"a cycle among {sorted(graph)}"
        for leaf in leaves:
            del graph[leaf]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("wgbpf.protocol.peer", "import time"),
        ("wgbpf.protocol.peer", "from os import urandom"),
        ("wgbpf.protocol.peer", "from ..datapath import tun"),
        ("wgbpf.protocol.peer", "from cryptography import x509"),
        ("wgbpf.datapath.tun", "from ..protocol.device import Device"),
        ("wgbpf.datapath.tun", "from ..protocol import timers"),
        ("wgbpf.config.wgfile", "from ..datapath.tun import TunDataPath"),
        ("wgbpf.metrics.table", "import controller"),
        ("wgbpf.cli.keys", "from controller.engine import Engine"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert offences(module, imports(source, module, False))


SOURCES = [
    p
    for e in ("py", "c", "h", "sh")
    for d in ("wgbpf", "controller", "bpf", "tests", "dashboards", "bench")
    for p in (ROOT / d).rglob(f"*.{e}")
]


@pytest.mark.parametrize("path", SOURCES, ids=[str(p.relative_to(ROOT)) for p in SOURCES])
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400

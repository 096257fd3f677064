"""The optional part of the build: the native pump, where a C compiler and OpenSSL's headers are."""

from pathlib import Path

from setuptools import Extension, setup

_SOURCES = (
    "aead",
    "aead_avx2",
    "aead_avx512",
    "affinity",
    "coalesce",
    "connected",
    "events",
    "inner",
    "module",
    "outbox",
    "pyaead",
    "queue",
    "receive",
    "routes",
    "segment",
    "send",
    "session",
    "threads",
    "verbs",
)

setup(
    ext_modules=[
        Extension(
            "wgbpf.native._pump",
            [f"wgbpf/native/{name}.c" for name in _SOURCES],
            depends=sorted(map(str, Path("wgbpf/native").glob("*.h"))),
            define_macros=[("_GNU_SOURCE", "1")],
            extra_compile_args=["-std=c11", "-O3", "-Wall", "-Wextra", "-Wno-missing-field-initializers"],
            libraries=["crypto", "pthread"],
            # Without compiler or headers the pure Python pump does the same, slower, and `status` says so.
            optional=True,
        )
    ]
)

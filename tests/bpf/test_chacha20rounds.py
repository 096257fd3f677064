"""The rounds of ChaCha20 are what their maker makes; what they compute is tested with the cipher."""

import runpy

from .build import REPOSITORY


def test_the_header_is_as_made() -> None:
    made = runpy.run_path(str(REPOSITORY / "bpf" / "chacha20rounds.py"))["header"]()
    assert (REPOSITORY / "bpf" / "chacha20rounds.h").read_text() == made

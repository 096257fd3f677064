"""The replay window in BPF against the core's, decision by decision."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from wgbpf.datapath import abi
from wgbpf.datapath.libbpf import XDP_PASS, Object, Program
from wgbpf.protocol.constants import REJECT_AFTER_MESSAGES
from wgbpf.protocol.replay import ReplayWindow

from .build import compile_bpf

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root")

_COUNTERS = 32


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    made = Object(compile_bpf(Path(__file__).with_name("window_test.bpf.c")))
    made.set_rodata(bytes(abi.Settings(1023, 0, 1)))
    made.load()
    yield made.programs["window"]
    made.close()


def _judge(program: Program, counters: list[int]) -> list[bool]:
    verdict, out, _ = program.test_run(b"".join(c.to_bytes(8, "little") for c in counters))
    assert verdict == XDP_PASS
    return [bool(out[n * 8]) for n in range(len(counters))]


def _agree(program: Program, counters: list[int]) -> None:
    counters = (counters + [2**64 - 1] * _COUNTERS)[:_COUNTERS]
    window = ReplayWindow()
    assert _judge(program, counters) == [window.accept(c) for c in counters], counters


@pytest.mark.parametrize(
    "counters",
    [
        [0, 0],
        [8128, 0, 0],
        [8129, 0, 1],
        [0, 8128, 0, 1],
        [0, 8192, 63, 64, 65],
        [0, 2**32, 2**32 - 8128, 2**32 - 8129],
        [5, 2**63, 2**63 - 1, 2**63],
        [REJECT_AFTER_MESSAGES - 1, REJECT_AFTER_MESSAGES - 1, REJECT_AFTER_MESSAGES],
        list(range(31, -1, -1)),
    ],
)
def test_edges(program: Program, counters: list[int]) -> None:
    _agree(program, counters)


def test_a_hundred_thousand_random_sequences(program: Program) -> None:
    rng = random.Random(4)
    steps = (1, 2, 63, 64, 65, 128, 8063, 8064, 8127, 8128, 8129, 8191, 8192, 8193, 100_000)
    for _ in range(100_000):
        base = rng.choice((0, rng.randrange(20_000), rng.randrange(2**40), REJECT_AFTER_MESSAGES - 9000))
        counters = []
        for _ in range(_COUNTERS):
            counters.append(min(max(base, 0), 2**64 - 1))
            base += rng.choice(steps) * rng.choice((1, 1, -1)) if rng.random() < 0.8 else 0
        _agree(program, counters)

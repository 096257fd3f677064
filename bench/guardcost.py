"""What a refused packet costs: nanoseconds by BPF_PROG_TEST_RUN, beside an empty XDP program in the same run."""

import statistics
from dataclasses import dataclass

from tests.bpf.build import REPOSITORY, compile_bpf
from tests.bpf.guardplane import PORT, PROGRAMS, GuardPlane, source
from wgbpf.datapath.libbpf import XDP_DROP, XDP_TX, Object, Program
from wgbpf.datapath.outerframe import outer_frame

_ROUNDS = 7
_RUNS = 50_000
_ROOM = 256


@dataclass(frozen=True)
class Cost:
    what: str
    program: str
    nanoseconds: float
    empty: float
    """Of the empty program."""


def _frame(message: bytes, address: str = "192.0.2.2") -> bytes:
    frame = outer_frame(message, source(address), PORT, 0)
    assert frame is not None
    return frame


def _median(program: Program, frame: bytes, empty: Program, verdict: int) -> tuple[float, float]:
    ours, nothing = [], []
    for _ in range(_ROUNDS):
        nothing.append(empty.test_run(frame, repeat=_RUNS)[2])
        found, _, took = program.test_run(frame, repeat=_RUNS)
        assert found == verdict, found
        ours.append(took)
    return statistics.median(ours), statistics.median(nothing)


def measure() -> list[Cost]:
    found = []
    bench = Object(compile_bpf(REPOSITORY / "tests" / "bpf" / "cost_test.bpf.c"))
    for name in PROGRAMS:
        plane = GuardPlane(name)
        good = plane.initiation()
        wrong = good[:-17] + bytes([good[-17] ^ 1]) + good[-16:]
        cases = {
            "random bytes": b"\xee" * 148,
            "data, unknown index": b"\4\0\0\0" + b"\xee" * 1000,
            "initiation, wrong length": good[:-1],
            "response, unknown index": b"\2\0\0\0" + bytes(88),
            "initiation, wrong mac1": wrong,
            "initiation, repeated": good,
        }
        plane.receive(good)
        for what, message in cases.items():
            frame = _frame(message)
            if name == PROGRAMS[0] and not bench.programs:
                bench.share({n: m for n, m in plane.raw.items() if "." not in n})
                bench.load()
            took, empty = _median(plane.program, frame, bench.programs["empty"], XDP_DROP)
            found.append(Cost(what, name, took, empty))
        if name == PROGRAMS[0]:
            plane.load(600)
            for what, mac2 in (("no mac2", bytes(16)), ("wrong mac2", b"\xee" * 16)):
                for kind, address in (("IPv4", "192.0.2.9"), ("IPv6", "2001:db8::9")):
                    frame = _frame(plane.initiation()[:-16] + mac2, address)
                    padded = frame.ljust(_ROOM, b"\0")
                    bench.maps["saved"].update(bytes(4), padded)
                    took, empty = _median(bench.programs["cookie"], padded, bench.programs["empty"], XDP_TX)
                    restored, _ = _median(
                        bench.programs["restore"], padded, bench.programs["empty"], XDP_DROP
                    )
                    found.append(
                        Cost(f"cookie reply, {kind}, {what}", "wg_guard", took - restored + empty, empty)
                    )
        plane.close()
    return found


if __name__ == "__main__":
    for c in measure():
        print(
            f"{c.program:12} {c.what:30} {c.nanoseconds:7.0f} ns, empty {c.empty:4.0f}: + {c.nanoseconds - c.empty:.0f}"
        )

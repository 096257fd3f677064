"""`python -m tests.fuzz --seconds 600 --target core`: throws mutated input at the parsers until time is up.

A finding is any exception that is not the one the parser documents; the input is printed, and kept in
build/fuzz/.
"""

import argparse
import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

from .targets import TARGETS, Target

_KEEP = Path("build/fuzz")
_REPORT_EVERY = 30.0


def fuzz(name: str, target: Target, seconds: float, seed: int) -> tuple[int, bytes | None]:
    """Executions, and the first input with a finding."""
    rand = random.Random(seed)
    end = time.monotonic() + seconds
    said = time.monotonic()
    done = 0
    while time.monotonic() < end:
        data = target.make(rand)
        try:
            target.run(data)
        except Exception:  # noqa: BLE001  # whatever it is, it is the finding
            traceback.print_exc()
            return done, data
        done += 1
        if time.monotonic() - said > _REPORT_EVERY:
            said = time.monotonic()
            print(f"{name}: {done} executions, {end - said:.0f} s to go", flush=True)
    return done, None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="time for each target")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    failed = False
    for name in options.target or sorted(TARGETS):
        done, finding = fuzz(name, TARGETS[name], options.seconds, options.seed)
        print(f"{name}: {done} executions, seed {options.seed}: {'FINDING' if finding else 'no finding'}")
        if finding is not None:
            failed = True
            _KEEP.mkdir(parents=True, exist_ok=True)
            path = _KEEP / f"{name}-{hashlib.sha256(finding).hexdigest()[:12]}"
            path.write_bytes(finding)
            print(f"kept in {path}: {finding!r}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

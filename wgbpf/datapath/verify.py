"""`make bpf`: loads the compiled programs and prints their size and what the verifier needed for them."""

import re
import sys
from pathlib import Path

from .libbpf import Object

_FACTS = re.compile(r"processed (\d+) insns \(limit (\d+)\)")


def main(paths: list[str]) -> int:
    """Exit status 1 when the kernel refuses one."""
    print(f"{'program':<14}{'instructions':>14}{'verified':>12}{'of limit':>10}")
    for path in paths:
        made = Object(Path(path))
        try:
            made.load()
        except OSError as error:
            print(error, file=sys.stderr)
            return 1
        for program in made.programs.values():
            found = _FACTS.search(program.verifier)
            verified, limit = (int(n) for n in found.groups()) if found else (0, 1)
            print(f"{program.name:<14}{program.instructions:>14}{verified:>12}{verified / limit:>10.1%}")
        made.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

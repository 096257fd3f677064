"""Writes chacha20rounds.h: `python bpf/chacha20rounds.py > bpf/chacha20rounds.h`.

A double round has 96 steps on 16 words, and BPF has ten registers. The order below was found by measuring
some ten thousand on an AMD EPYC (Zen 4), as the x86-64 instructions that the kernel's JIT makes of them:
the compiler's order and registers take over a tenth longer. What is given up is the word needed last (L.
A. Belady, "A study of replacement algorithms for a virtual-storage computer", 1966); it is stored where
it has changed. After a double round the words are in other registers than before: the next one takes them
from there. It is no loop, whose end the CPU would mistake in every block.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

Step: TypeAlias = tuple[str, int, int]
"""ADD or XOR with two words, or ROT with a word and by how many bits."""
Registers: TypeAlias = dict[int, int]
"""Word to register."""

DIAGONALS = ((3, 4, 9, 14), (0, 5, 10, 15), (2, 7, 8, 13), (1, 6, 11, 12))
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))

# Whose next step it is: of the four diagonals, then of the four columns.
ORDER = "112000111202310112233002300312331123002014235553424235435646475464765457647576464656577567677767"
DOUBLES = 9
"""Between the first round's columns and the last round's diagonals."""

_REGISTERS = range(9)
_NAMES = "abcdefghi"
"""Of registers where they are parameters; the tenth one is for rotations."""
_WIDTH = 100


def _quarter(a: int, b: int, c: int, d: int) -> Iterator[Step]:
    """RFC 8439, 2.1."""
    for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        yield "ADD", x, y
        yield "XOR", z, x
        yield "ROT", z, bits


def _double() -> list[Step]:
    quarters = [_quarter(*words) for words in DIAGONALS + COLUMNS]
    return [next(quarters[int(which)]) for which in ORDER]


def _last() -> list[Step]:
    quarters = [_quarter(*words) for words in DIAGONALS]
    return [next(quarters[int(which)]) for which in ORDER if int(which) < len(DIAGONALS)]


def _words(step: Step) -> tuple[int, ...]:
    return step[1:2] if step[0] == "ROT" else step[1:]


class _Steps:
    """The instructions for steps, from the registers that words are in before them to those after."""

    def __init__(self, steps: Sequence[Step], then: Sequence[Step], before: Registers) -> None:
        self.lines: list[str] = []
        self.registers = dict(before)
        self._changed = set(before)
        ahead = [*steps, *then]
        for at, step in enumerate(steps):
            for word in _words(step):
                if word not in self.registers:
                    self._load(word, _words(step), ahead[at:])
            one, *other = (_NAMES[self.registers[word]] for word in _words(step))
            last = other[0] if other else f"{step[2]}, {32 - step[2]}"
            self.lines.append(f"W_{step[0]}({one}, {last})")
            self._changed.add(step[1])

    def _load(self, word: int, keep: tuple[int, ...], ahead: Sequence[Step]) -> None:
        unused = set(_REGISTERS) - set(self.registers.values())
        register = min(unused) if unused else self._give_up(keep, ahead)
        self.registers[word] = register
        self.lines.append(f"W_LOAD({_NAMES[register]}, {word})")

    def _give_up(self, keep: tuple[int, ...], ahead: Sequence[Step]) -> int:
        def next_use(word: int) -> tuple[int, int]:
            uses = (at for at, step in enumerate(ahead) if word in _words(step))
            return next(uses, len(ahead)), word

        word = max((w for w in self.registers if w not in keep), key=next_use)
        register = self.registers.pop(word)
        if word in self._changed:
            self._changed.remove(word)
            self.lines.append(f"W_STORE({word}, {_NAMES[register]})")
        return register

    def stores(self) -> list[str]:
        return [f"W_STORE({w}, {_NAMES[r]})" for w, r in self.registers.items() if w in self._changed]


def _repeated() -> tuple[Registers, _Steps]:
    """A double round that ends with the same words in registers as it began, and where they were then."""
    steps, start = _double(), Registers()
    for _ in range(10):
        made = _Steps(steps, steps, start)
        if made.registers.keys() == start.keys():
            return start, made
        start = made.registers
    raise ValueError("this order of steps never comes to rest")


def _arguments(start: Registers, end: Registers) -> Iterator[str]:
    """The registers for each double round and for what follows: where the one before left the words."""
    now = {register: register for register in _REGISTERS}
    for _ in range(DOUBLES + 1):
        yield ", ".join(str(now[register]) for register in _REGISTERS)
        now = {start[word]: now[end[word]] for word in start}


def _wrapped(lines: Sequence[str]) -> str:
    rows = [""]
    for line in lines:
        if len(rows[-1]) + len(line) > _WIDTH:
            rows.append("")
        rows[-1] += f" {line}" if rows[-1] else line
    return " \\\n".join(f"\t{row}" for row in rows)


def header() -> str:
    """The text of chacha20rounds.h."""
    start, double = _repeated()
    last = _Steps(_last(), [], start)
    *doubles, end = _arguments(start, double.registers)
    return _TEXT.format(
        names=", ".join(_NAMES),
        enter=_wrapped([f"W_LOAD({register}, {word})" for word, register in start.items()]),
        double=_wrapped(double.lines),
        last=_wrapped(last.lines + last.stores()),
        doubles=_wrapped([f"CHACHA20_DOUBLE({registers})" for registers in doubles]).strip(),
        end=end,
        words=_wrapped([f'[x{n}] "+m"((x)[{n}]){"," * (n < 15)}' for n in range(16)]).strip(),
        clobbered=", ".join(f'"r{n}"' for n in range(10)),
    )


_TEXT = r"""/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Made by chacha20rounds.py, which says why: change that. */
#ifndef CHACHA20ROUNDS_H
#define CHACHA20ROUNDS_H

/* Registers of ten; words of the state by number. */
#define W_ADD(a, b) "w" #a " += w" #b "\n"
#define W_XOR(a, b) "w" #a " ^= w" #b "\n"
#define W_ROT(a, n, m) "w9 = w" #a "\nw9 >>= " #m "\nw" #a " <<= " #n "\nw" #a " |= w9\n"
#define W_LOAD(a, word) "w" #a " = *(u32 *)%[x" #word "]\n"
#define W_STORE(word, a) "*(u32 *)%[x" #word "] = w" #a "\n"

#define CHACHA20_ENTER \
{enter}

/* The diagonals, then the columns. */
#define CHACHA20_DOUBLE({names}) \
{double}

#define CHACHA20_LAST({names}) \
{last}

/* What follows the first round's columns (RFC 8439, 2.3), on an array of 16 words. */
#define CHACHA20_ROUNDS(x) \
	asm volatile(CHACHA20_ENTER \
	{doubles} \
	CHACHA20_LAST({end}) \
	: {words} \
	: \
	: {clobbered})

#endif
"""


if __name__ == "__main__":
    print(header(), end="")

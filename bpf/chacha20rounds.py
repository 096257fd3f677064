"""Writes chacha20rounds.h: `python bpf/chacha20rounds.py > bpf/chacha20rounds.h`.

A double round has 96 steps on 16 words, and BPF has ten registers. The order below was found by trying some
ten thousand on an AMD EPYC (Zen 4), as the x86-64 instructions that the kernel's JIT makes of them: 46 cycles
a double round, where the compiler's order and registers take 51. What is given up is the word needed last
(L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", 1966). It is no loop, whose
end the CPU would mistake in every block.
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
DOUBLE = "112000111202301223301012303102301231103024235552234443453664567544467567564775546466757756667777"
# Of the diagonals at the end.
LAST = "112012010102301232301012303102301231103022322333"

_WORD_REGISTERS = range(9)
_SPARE = 9
_WIDTH = 100


def _quarter(a: int, b: int, c: int, d: int) -> Iterator[Step]:
    """RFC 8439, 2.1."""
    for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        yield "ADD", x, y
        yield "XOR", z, x
        yield "ROT", z, bits


def _in_order(quarters: Sequence[tuple[int, int, int, int]], order: str) -> list[Step]:
    steps = [_quarter(*words) for words in quarters]
    return [next(steps[int(which)]) for which in order]


def _words(step: Step) -> tuple[int, ...]:
    return step[1:2] if step[0] == "ROT" else step[1:]


class _Steps:
    """The instructions for steps, from the registers that words are in before them to those after."""

    def __init__(self, steps: Sequence[Step], then: Sequence[Step], before: Registers) -> None:
        self.lines: list[str] = []
        self.registers = dict(before)
        ahead = [*steps, *then]
        for at, step in enumerate(steps):
            for word in _words(step):
                if word not in self.registers:
                    self._load(word, _words(step), ahead[at:])
            one, *other = (self.registers[word] for word in _words(step))
            last = f"{other[0]}" if other else f"{step[2]}, {32 - step[2]}"
            self.lines.append(f"W_{step[0]}({one}, {last})")

    def _load(self, word: int, keep: tuple[int, ...], ahead: Sequence[Step]) -> None:
        unused = set(_WORD_REGISTERS) - set(self.registers.values())
        register = min(unused) if unused else self._give_up(keep, ahead)
        self.registers[word] = register
        self.lines.append(f"W_LOAD({register}, {word})")

    def _give_up(self, keep: tuple[int, ...], ahead: Sequence[Step]) -> int:
        def next_use(word: int) -> tuple[int, int]:
            uses = (at for at, step in enumerate(ahead) if word in _words(step))
            return next(uses, len(ahead)), word

        word = max((w for w in self.registers if w not in keep), key=next_use)
        self.lines.append(f"W_STORE({word}, {self.registers[word]})")
        return self.registers.pop(word)


def _moved(now: Registers, wanted: Registers) -> list[str]:
    """From the end of a double round to what the next one expects."""
    lines = [f"W_STORE({word}, {register})" for word, register in now.items() if word not in wanted]
    moves = {wanted[w]: now[w] for w in wanted if w in now and now[w] != wanted[w]}
    while moves:
        free = next((to for to in moves if to not in moves.values()), None)
        if free is None:
            free = next(iter(moves))
            lines.append(f"W_MOVE({_SPARE}, {free})")
            moves = {to: _SPARE if source == free else source for to, source in moves.items()}
        lines.append(f"W_MOVE({free}, {moves.pop(free)})")
    return lines + [f"W_LOAD({register}, {word})" for word, register in wanted.items() if word not in now]


def _double_rounds(steps: Sequence[Step]) -> Iterator[tuple[Registers, list[str]]]:
    """With the registers before and after; one for each start that is likely."""
    start: Registers = {}
    for _ in range(5):
        start = _Steps(steps, [*steps, *steps], start).registers
        made = _Steps(steps, steps, start)
        yield start, made.lines + _moved(made.registers, start)


def _wrapped(lines: Sequence[str]) -> str:
    rows = [""]
    for line in lines:
        if len(rows[-1]) + len(line) > _WIDTH:
            rows.append("")
        rows[-1] += f" {line}" if rows[-1] else line
    return " \\\n".join(f"\t{row}" for row in rows)


def header() -> str:
    """The text of chacha20rounds.h."""
    start, double = min(_double_rounds(_in_order(DIAGONALS + COLUMNS, DOUBLE)), key=lambda made: len(made[1]))
    last = _Steps(_in_order(DIAGONALS, LAST), [], start)
    return _TEXT.format(
        enter=_wrapped([f"W_LOAD({register}, {word})" for word, register in start.items()]),
        double=_wrapped(double),
        last=_wrapped(last.lines + [f"W_STORE({word}, {r})" for word, r in last.registers.items()]),
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
#define W_MOVE(a, b) "w" #a " = w" #b "\n"
#define W_LOAD(a, word) "w" #a " = *(u32 *)%[x" #word "]\n"
#define W_STORE(word, a) "*(u32 *)%[x" #word "] = w" #a "\n"

#define CHACHA20_ENTER \
{enter}

/* The diagonals, then the columns. */
#define CHACHA20_DOUBLE \
{double}

#define CHACHA20_LAST \
{last}

/* What follows the first round's columns (RFC 8439, 2.3), on an array of 16 words. */
#define CHACHA20_ROUNDS(x) \
	asm volatile(CHACHA20_ENTER \
	CHACHA20_DOUBLE CHACHA20_DOUBLE CHACHA20_DOUBLE \
	CHACHA20_DOUBLE CHACHA20_DOUBLE CHACHA20_DOUBLE \
	CHACHA20_DOUBLE CHACHA20_DOUBLE CHACHA20_DOUBLE \
	CHACHA20_LAST \
	: {words} \
	: \
	: {clobbered})

#endif
"""


if __name__ == "__main__":
    print(header(), end="")

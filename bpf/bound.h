/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
#ifndef BOUND_H
#define BOUND_H

/* The verifier forgets, or the compiler removes, what bounds an offset; this stays where it is. */
#define BOUND(x, mask) asm volatile("%0 &= %1" : "+r"(x) : "i"(mask))

#endif

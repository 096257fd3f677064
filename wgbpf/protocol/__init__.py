"""The WireGuard protocol without I/O: bytes, numbers and time come in, actions go out.

Nothing in this package opens a socket, reads a clock, asks for entropy or logs. `crypto` is the one
module that imports `cryptography`. Section numbers in the docstrings are those of the WireGuard paper
(J. Donenfeld, NDSS 2017) unless they say otherwise.
"""

"""Several UDP sockets on one port: the kernel hands each session's datagrams to the same one of them.

A classic BPF program chooses by the low byte of the receiver index (SO_ATTACH_REUSEPORT_CBPF); handshake
messages, and whatever is too short, go to the first socket.
"""

import ctypes
import socket
import struct
from collections.abc import Sequence

from ..protocol.messages import MessageType

_SO_ATTACH_REUSEPORT_CBPF = 51
_INSTRUCTION = struct.Struct("=HBBI")
_FPROG = struct.Struct("@HP")

_LOAD_BYTE, _JUMP_EQUAL, _MODULO, _RETURN, _RETURN_A = 0x30, 0x15, 0x94, 0x06, 0x16
_TYPE, _RECEIVER = 0, 4


def program(sockets: int) -> bytes:
    """Loads beyond the datagram end the program with 0."""
    instructions = (
        (_LOAD_BYTE, 0, 0, _TYPE),
        (_JUMP_EQUAL, 0, 3, MessageType.DATA),
        (_LOAD_BYTE, 0, 0, _RECEIVER),
        (_MODULO, 0, 0, sockets),
        (_RETURN_A, 0, 0, 0),
        (_RETURN, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def queue_of(index: int, sockets: int) -> int:
    """Where the program above sends a session's datagrams."""
    return (index & 0xFF) % sockets


def share(sock: socket.socket) -> None:
    """Allow others on this socket's port. Raises OSError.

    The first one is told after it was bound, so that the port is taken from nobody; the others before.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def steer(sockets: Sequence[socket.socket]) -> None:
    """Attach the program to sockets of one port, in the order in which they were bound. Raises OSError."""
    code = ctypes.create_string_buffer(program(len(sockets)))
    count = len(code.raw) // _INSTRUCTION.size
    sockets[0].setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, _FPROG.pack(count, ctypes.addressof(code))
    )

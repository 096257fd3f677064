"""A binding of libbpf.so.1 by ctypes: objects, maps, pins, XDP links, ring buffers and test runs.

Every function is declared in one table; a negative result or a null pointer becomes OSError.
"""

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)
XDP_GENERIC, XDP_NATIVE = 2, 4
"""Flags of an XDP attachment (XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE)."""
BPF_XDP = 37
BPF_F_LOCK = 4

_LOG_BYTES = 1 << 20
_LibraryPrint = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_SampleCallback = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)


class _TestRun(ctypes.Structure):
    _fields_ = [
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


class _LinkCreate(ctypes.Structure):
    _fields_ = [("sz", c_size_t), ("flags", c_uint32), ("iter_info", c_void_p), ("pad", c_uint32 * 16)]


class _MapInfo(ctypes.Structure):
    _fields_ = [
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("rest", c_uint32 * 32),
    ]


class _ProgramInfo(ctypes.Structure):
    """The head of struct bpf_prog_info."""

    _fields_ = [("rest", c_uint32 * 16), ("name", ctypes.c_char * 16)]


class _BatchOptions(ctypes.Structure):
    _fields_ = [("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64)]


_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_set_print": (c_void_p, (c_void_p,)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p)),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__initial_value": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "bpf_map__type": (c_int, (c_void_p,)),
    "bpf_map__key_size": (c_uint32, (c_void_p,)),
    "bpf_map__value_size": (c_uint32, (c_void_p,)),
    "bpf_map__max_entries": (c_uint32, (c_void_p,)),
    "bpf_program__name": (c_char_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_program__set_flags": (c_int, (c_void_p, c_uint32)),
    "bpf_program__insn_cnt": (c_size_t, (c_void_p,)),
    "bpf_program__set_log_level": (c_int, (c_void_p, c_uint32)),
    "bpf_program__set_log_buf": (c_int, (c_void_p, c_char_p, c_size_t)),
    "bpf_prog_test_run_opts": (c_int, (c_int, c_void_p)),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p)),
    "bpf_link_update": (c_int, (c_int, c_int, c_void_p)),
    "bpf_link_detach": (c_int, (c_int,)),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_map_lookup_elem_flags": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_map_update_batch": (c_int, (c_int, c_void_p, c_void_p, POINTER(c_uint32), c_void_p)),
    "ring_buffer__new": (c_void_p, (c_int, c_void_p, c_void_p, c_void_p)),
    "ring_buffer__add": (c_int, (c_void_p, c_int, c_void_p, c_void_p)),
    "ring_buffer__consume": (c_int, (c_void_p,)),
    "ring_buffer__epoll_fd": (c_int, (c_void_p,)),
    "ring_buffer__free": (None, (c_void_p,)),
}


class LibbpfMissing(OSError):
    """libbpf.so.1 is not installed."""


class _Library:
    """The functions of _FUNCTIONS, loaded at the first use."""

    def __init__(self) -> None:
        self._loaded: ctypes.CDLL | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if self._loaded is None:
            try:
                library = ctypes.CDLL("libbpf.so.1", use_errno=True)
            except OSError as error:
                raise LibbpfMissing(errno.ENOENT, f"{error} (package libbpf1)") from error
            for function, (result, arguments) in _FUNCTIONS.items():
                declared = getattr(library, function)
                declared.restype, declared.argtypes = result, arguments
            library.libbpf_set_print(None)
            self._loaded = library
        function_: Callable[..., Any] = getattr(self._loaded, name)
        return function_


_lib = _Library()


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = -result if result != -1 else ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def possible_cpus() -> int:
    return _checked(_lib.libbpf_num_possible_cpus(), "possible CPUs")


class Map:
    """A map by its descriptor; keys and values are bytes of its exact sizes."""

    def __init__(self, name: str, fd: int, key_size: int, value_size: int, max_entries: int) -> None:
        self.name = name
        self.fd = fd
        self.key_size = key_size
        self.value_size = value_size
        self.max_entries = max_entries

    def lookup(self, key: bytes, size: int | None = None, flags: int = 0) -> bytes | None:
        """`size` where it is not the value's (per-CPU maps). None: no such key. Raises OSError."""
        value = ctypes.create_string_buffer(size or self.value_size)
        result = _lib.bpf_map_lookup_elem_flags(self.fd, key, value, flags)
        if result == -errno.ENOENT:
            return None
        _checked(result, f"map {self.name}")
        return value.raw

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        _checked(_lib.bpf_map_update_elem(self.fd, key, value, flags), f"map {self.name}")

    def delete(self, key: bytes) -> bool:
        """False when the key was not there."""
        result = _lib.bpf_map_delete_elem(self.fd, key)
        if result == -errno.ENOENT:
            return False
        _checked(result, f"map {self.name}")
        return True

    def number(self) -> int:
        """The kernel's id of it."""
        return int(_map_info(self.name, self.fd).id)

    def memory(self) -> int:
        """Bytes that the kernel has taken for it; 0 where it does not tell."""
        for line in Path(f"/proc/self/fdinfo/{self.fd}").read_text().splitlines():
            if line.startswith("memlock:"):
                return int(line.split()[1])
        return 0

    def update_batch(self, keys: Sequence[bytes], values: Sequence[bytes], flags: int = 0) -> None:
        count = c_uint32(len(keys))
        options = _BatchOptions(ctypes.sizeof(_BatchOptions), flags, 0)
        result = _lib.bpf_map_update_batch(
            self.fd, b"".join(keys), b"".join(values), ctypes.byref(count), ctypes.byref(options)
        )
        _checked(result, f"map {self.name}")


def map_of(name: str, fd: int) -> Map:
    """A map by the descriptor of its pin."""
    info = _map_info(name, fd)
    return Map(name, fd, info.key_size, info.value_size, info.max_entries)


def _map_info(name: str, fd: int) -> _MapInfo:
    info = _MapInfo()
    size = c_uint32(ctypes.sizeof(info))
    _checked(_lib.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)), f"map {name}")
    return info


def program_name(number: int) -> str:
    """Of a loaded program, by its id. Raises OSError."""
    fd = _checked(_lib.bpf_prog_get_fd_by_id(number), f"program {number}")
    info = _ProgramInfo()
    size = c_uint32(ctypes.sizeof(info))
    try:
        _checked(_lib.bpf_obj_get_info_by_fd(fd, ctypes.byref(info), ctypes.byref(size)), f"program {number}")
    finally:
        os.close(fd)
    name: str = info.name.decode(errors="replace")
    return name


class Program:
    def __init__(self, name: str, fd: int, instructions: int, verifier: str) -> None:
        self.name = name
        self.fd = fd
        self.instructions = instructions
        self.verifier = verifier
        """The verifier's statistics."""

    def test_run(
        self, frame: bytes, context: bytes = b"", repeat: int = 1, room: int = 256
    ) -> tuple[int, bytes, int]:
        """Verdict, the frame afterwards, ns per run. Raises OSError."""
        out = ctypes.create_string_buffer(len(frame) + room)
        run = _TestRun(ctypes.sizeof(_TestRun))
        data = ctypes.create_string_buffer(frame, len(frame))
        run.data_in, run.data_size_in = ctypes.addressof(data), len(frame)
        run.data_out, run.data_size_out = ctypes.addressof(out), len(out)
        given = ctypes.create_string_buffer(context, len(context)) if context else None
        if given is not None:
            run.ctx_in, run.ctx_size_in = ctypes.addressof(given), len(context)
        run.repeat = repeat
        _checked(_lib.bpf_prog_test_run_opts(self.fd, ctypes.byref(run)), f"running {self.name}")
        return run.retval, out.raw[: run.data_size_out], run.duration


class Object:
    """An open BPF object file: change it, `load` it, use its maps and programs, `close` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        handle = _lib.bpf_object__open_file(str(path).encode(), None)
        if not handle:
            raise OSError(ctypes.get_errno(), f"{path}: {os.strerror(ctypes.get_errno())}")
        self._handle: int | None = handle
        self.maps: dict[str, Map] = {}
        self.programs: dict[str, Program] = {}

    def _each(self, following: Callable[..., int | None]) -> Iterator[int]:
        item = following(self._handle, None)
        while item:
            yield item
            item = following(self._handle, item)

    def _named_maps(self) -> dict[str, int]:
        return {_lib.bpf_map__name(m).decode(): m for m in self._each(_lib.bpf_object__next_map)}

    def set_rodata(self, value: bytes) -> None:
        """The settings of the programs. Raises OSError when the size is another one."""
        handle = next(m for name, m in self._named_maps().items() if name.endswith(".rodata.settings"))
        size = c_size_t()
        start = _lib.bpf_map__initial_value(handle, ctypes.byref(size))
        if size.value != len(value):
            raise OSError(errno.EINVAL, f"{self._path}: settings have {size.value} bytes, not {len(value)}")
        ctypes.memmove(start, value, len(value))

    def set_max_entries(self, name: str, entries: int) -> None:
        handle = self._named_maps().get(name)
        if handle is not None:
            _checked(_lib.bpf_map__set_max_entries(handle, entries), f"size of map {name}")

    def share(self, maps: dict[str, Map]) -> None:
        """Use these maps in place of the object's own of the same name."""
        for name, handle in self._named_maps().items():
            if name in maps:
                _checked(_lib.bpf_map__reuse_fd(handle, maps[name].fd), f"sharing map {name}")

    def load(self) -> None:
        """Raises OSError; the message ends with what the verifier said last."""
        logs = {}
        for handle in self._each(_lib.bpf_object__next_program):
            logs[handle] = ctypes.create_string_buffer(_LOG_BYTES)
            _lib.bpf_program__set_log_level(handle, 4)
            _lib.bpf_program__set_log_buf(handle, ctypes.cast(logs[handle], c_char_p), _LOG_BYTES)
        result = _lib.bpf_object__load(self._handle)
        if result < 0:
            said = " / ".join(
                " | ".join(log.value.decode(errors="replace").strip().splitlines()[-3:])
                for log in logs.values()
                if log.value
            )
            raise OSError(-result, f"loading {self._path.name}: {os.strerror(-result)} {said}".strip())
        for name, handle in self._named_maps().items():
            self.maps[name] = Map(
                name,
                _lib.bpf_map__fd(handle),
                _lib.bpf_map__key_size(handle),
                _lib.bpf_map__value_size(handle),
                _lib.bpf_map__max_entries(handle),
            )
        for handle, log in logs.items():
            name = _lib.bpf_program__name(handle).decode()
            self.programs[name] = Program(
                name,
                _lib.bpf_program__fd(handle),
                _lib.bpf_program__insn_cnt(handle),
                log.value.decode(errors="replace").strip(),
            )

    def close(self) -> None:
        """Closes the descriptors of maps and programs too."""
        if self._handle is not None:
            _lib.bpf_object__close(self._handle)
            self._handle = None


class RingBuffers:
    """Ring buffers with one descriptor to wait on. `take` gets each record as bytes."""

    def __init__(self, maps: Sequence[Map], take: Callable[[bytes], None]) -> None:
        def sample(_context: object, data: int, size: int) -> int:
            take(ctypes.string_at(data, size))
            return 0

        self._callback = _SampleCallback(sample)  # kept: libbpf holds only its address
        callback = ctypes.cast(self._callback, c_void_p)
        self._handle: int | None = _lib.ring_buffer__new(maps[0].fd, callback, None, None)
        if not self._handle:
            number = ctypes.get_errno()
            raise OSError(number, f"ring buffer: {os.strerror(number)}")
        for more in maps[1:]:
            _checked(_lib.ring_buffer__add(self._handle, more.fd, callback, None), "ring buffer")
        self.fd: int = _checked(_lib.ring_buffer__epoll_fd(self._handle), "ring buffer")

    def consume(self) -> None:
        _checked(_lib.ring_buffer__consume(self._handle), "ring buffer")

    def close(self) -> None:
        if self._handle is not None:
            _lib.ring_buffer__free(self._handle)
            self._handle = None


def attach_xdp(program_fd: int, ifindex: int, flags: int) -> int:
    """Descriptor of the new link; closing it, unless it is pinned, detaches. Raises OSError."""
    options = _LinkCreate(ctypes.sizeof(_LinkCreate), flags)
    return _checked(
        _lib.bpf_link_create(program_fd, ifindex, BPF_XDP, ctypes.byref(options)), "attaching XDP"
    )


def detach_link(fd: int) -> None:
    _checked(_lib.bpf_link_detach(fd), "detaching XDP")


def update_link(link_fd: int, program_fd: int) -> None:
    _checked(_lib.bpf_link_update(link_fd, program_fd, None), "replacing an XDP program")


def pin(fd: int, path: Path) -> None:
    _checked(_lib.bpf_obj_pin(fd, str(path).encode()), f"pinning {path}")


def get_pinned(path: Path) -> int:
    return _checked(_lib.bpf_obj_get(str(path).encode()), f"{path}")

"""How the command line starts a controller process, and where that process is found afterwards.

The controller is started as `python -m controller SPEC`, with SPEC the JSON of a LaunchSpec. When the
environment names a descriptor in WGBPF_READY_FD, the controller writes one Outcome there as JSON: when
it serves, or why it does not.
"""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

RUN_DIRECTORY: Final = Path("/run/wgbpf")
UAPI_DIRECTORY: Final = Path("/var/run/wireguard")
STATE_DIRECTORY: Final = Path("/var/lib/wgbpf")
CONFIG_DIRECTORY: Final = Path("/etc/wgbpf")
READY_FD: Final = "WGBPF_READY_FD"

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNSUPPORTED: Final = 3

_CONTROL_TIMEOUT = 10.0
_INTERFACE_NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What `attach` or `up` asks of a new controller."""

    interface: str
    nics: tuple[str, ...] = ()
    config: str | None = None
    datapath: str | None = None
    mode: str | None = None
    guard: str | None = None
    bring_up: bool = True
    """False: create the interface and leave the rest to wg-quick or another manager."""
    foreground: bool = False
    metrics: str | None = None
    """Listen address of /metrics; `off` for none; None: what the settings say."""
    verbose: bool = False
    replace: bool = False
    """Take off XDP programs of others."""
    queues: int | None = None
    """Of the tun data path; None: what the settings say."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "LaunchSpec":
        values = json.loads(text)
        values["nics"] = tuple(values["nics"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a start went."""

    code: int
    message: str = ""
    notes: tuple[str, ...] = ()
    """What the user should know of it: a fallback, a key that was made, a setting that was ignored."""


def is_interface_name(name: str) -> bool:
    return _INTERFACE_NAME.fullmatch(name) is not None and name not in (".", "..")


def control_path(interface: str) -> Path:
    return RUN_DIRECTORY / f"{interface}.ctl"


def uapi_path(interface: str) -> Path:
    return UAPI_DIRECTORY / f"{interface}.sock"


def running() -> list[str]:
    """Interfaces whose controller answers."""
    names = sorted(path.stem for path in RUN_DIRECTORY.glob("*.ctl"))
    return [name for name in names if is_running(name)]


def is_running(interface: str) -> bool:
    """Whether its controller answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_CONTROL_TIMEOUT)
        try:
            sock.connect(str(control_path(interface)))
        except OSError:
            return False
    return True


class ControlError(Exception):
    """The controller refused, or none is there."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


def ask(interface: str, request: dict[str, Any]) -> Any:
    """One question to the controller of an interface. Raises ControlError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_CONTROL_TIMEOUT)
        try:
            sock.connect(str(control_path(interface)))
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as answer:
                reply = json.loads(answer.readline())
        except PermissionError as error:
            raise ControlError(f"{interface}: permission denied: run as root") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise ControlError(
                f"no controller is running for {interface}: start one with `wgbpf attach NIC`"
            ) from error
        except (OSError, ValueError) as error:
            raise ControlError(f"{interface}: the controller does not answer: {error}") from error
    if reply.get("ok"):
        return reply.get("result")
    raise ControlError(str(reply.get("error")), int(reply.get("code", EXIT_FAILED)))


def start_in_background(spec: LaunchSpec) -> Outcome:
    """Start a controller of its own session and wait until it serves or has failed."""
    ready, told = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "controller", spec.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(told,),
            env={**os.environ, READY_FD: str(told)},
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(told)
    with os.fdopen(ready, "rb") as pipe:
        text = pipe.read()
    if not text:
        status = process.wait()
        return Outcome(EXIT_FAILED, f"the controller ended before it was ready (exit status {status})")
    values = json.loads(text)
    outcome = Outcome(values["code"], values["message"], tuple(values["notes"]))
    if outcome.code != EXIT_OK:
        process.wait()
    return outcome


def report_ready(outcome: Outcome) -> None:
    """Tell whoever started this process, once."""
    fd = os.environ.pop(READY_FD, None)
    if fd is not None:
        with os.fdopen(int(fd), "w") as pipe:
            json.dump(asdict(outcome), pipe)

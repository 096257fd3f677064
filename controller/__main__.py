"""`python -m controller SPEC`: one controller process (started by `wgbpf attach` and `wgbpf IFNAME`)."""

import asyncio
import ctypes
import fcntl
import logging
import logging.handlers
import os
import resource
import sys
from pathlib import Path

from wgbpf.config import settings
from wgbpf.config.errors import ConfigError
from wgbpf.datapath.interface import DataPathError, UnsupportedError
from wgbpf.launch import (
    CONFIG_DIRECTORY,
    EXIT_FAILED,
    EXIT_OK,
    EXIT_UNSUPPORTED,
    EXIT_USAGE,
    RUN_DIRECTORY,
    LaunchSpec,
    Outcome,
    report_ready,
)

from .daemon import Daemon
from .engine import BindError

log = logging.getLogger("wgbpf")

_PR_SET_DUMPABLE = 4


def main() -> int:
    """Exit status: 0 done, 1 failed, 2 usage, 3 the machine cannot do it."""
    try:
        spec = LaunchSpec.from_json(sys.argv[1])
    except (IndexError, ValueError, TypeError, KeyError):
        print("controller: started by `wgbpf attach`, not by hand", file=sys.stderr)
        return EXIT_USAGE
    try:
        lock = _lock(RUN_DIRECTORY / f"{spec.interface}.lock")
    except AlreadyRunning as error:
        return _failed(spec, str(error), EXIT_FAILED)
    except OSError as error:
        return _failed(spec, f"{error.filename}: {error.strerror}: run as root", EXIT_UNSUPPORTED)
    code = _run(spec)
    # An exception that nobody expected does not come by here: then the log is wanted.
    for kind in ("lock", "log"):
        (RUN_DIRECTORY / f"{spec.interface}.{kind}").unlink(missing_ok=True)
    os.close(lock)
    return code


def _run(spec: LaunchSpec) -> int:
    try:
        _keep_secrets()
        options = settings.load(CONFIG_DIRECTORY / "wgbpf.toml", spec.interface)
        _log_to(spec, options.log_level)
        asyncio.run(_serve(spec, options))
    except UnsupportedError as error:
        return _failed(spec, str(error), EXIT_UNSUPPORTED)
    except (ConfigError, DataPathError, BindError) as error:
        return _failed(spec, str(error), EXIT_FAILED)
    except PermissionError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(spec, f"{where}permission denied: run as root (CAP_NET_ADMIN)", EXIT_UNSUPPORTED)
    except OSError as error:
        return _failed(spec, str(error), EXIT_FAILED)
    return EXIT_OK


class AlreadyRunning(Exception):
    pass


async def _serve(spec: LaunchSpec, options: settings.Settings) -> None:
    daemon = Daemon(spec, options)
    outcome = await daemon.start()
    if spec.foreground:
        for note in outcome.notes:
            log.warning("%s", note)
    report_ready(outcome)
    await daemon.run()


def _failed(spec: LaunchSpec, message: str, code: int) -> int:
    report_ready(Outcome(code, message))
    if spec.foreground:
        print(f"wgbpf: {message}", file=sys.stderr)
    else:
        log.error("%s", message)
    return code


def _keep_secrets() -> None:
    """Keys must not end in a core dump or in another process's hands."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _lock(path: Path) -> int:
    """One controller an interface. The lock goes with the process."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            raise AlreadyRunning(f"{path.stem}: a controller is running already (pid {pid})") from None
        # The one before us may have removed the file between our open and our lock.
        if path.exists() and path.stat().st_ino == os.fstat(fd).st_ino:
            break
        os.close(fd)
    os.truncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _log_to(spec: LaunchSpec, level: str) -> None:
    """stderr in the foreground; else syslog where there is one, else a file beside the lock."""
    handler: logging.Handler
    if spec.foreground:
        handler = logging.StreamHandler()
        prefix = "%(asctime)s %(levelname)s"
    elif Path("/dev/log").exists():
        handler = logging.handlers.SysLogHandler("/dev/log", logging.handlers.SysLogHandler.LOG_DAEMON)
        prefix = "wgbpf[%(process)d]"
    else:
        path = RUN_DIRECTORY / f"{spec.interface}.log"
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=1 << 20, backupCount=1)
        prefix = "%(asctime)s %(levelname)s"
    handler.setFormatter(logging.Formatter(f"{prefix} {spec.interface}: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if spec.verbose else level.upper())


if __name__ == "__main__":
    sys.exit(main())

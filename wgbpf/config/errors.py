"""The one error of this package."""

from pathlib import Path


class ConfigError(Exception):
    """One line: file, line, key, what is wrong and what to do."""

    def __init__(self, path: Path | str, line: int | None, key: str | None, message: str) -> None:
        where = str(path) if line is None else f"{path}:{line}"
        super().__init__(": ".join(part for part in (where, key, message) if part))
        self.path, self.line, self.key, self.message = path, line, key, message

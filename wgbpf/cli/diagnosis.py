"""doctor: what this machine has and lacks."""

import json
import sys
from dataclasses import asdict

import click

from ..doctor import Level, examine
from ..launch import EXIT_OK, EXIT_UNSUPPORTED

_MARKS = {Level.OK: ("ok", "green"), Level.NOTE: ("--", "yellow"), Level.FAIL: ("FAIL", "red")}


@click.command()
@click.argument("nics", metavar="[NIC...]", nargs=-1)
@click.option("--port", default=51820, show_default=True, help="UDP port that must be free.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def doctor(nics: tuple[str, ...], port: int, as_json: bool) -> None:
    """Check privileges, TUN, BPF, tools, and what each NIC can do.

    Exit status 0 when nothing is in the way, 3 when something is.
    """
    checks = list(examine(list(nics), port))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark, colour = _MARKS[check.level]
            remedy = f" -> {check.remedy}" if check.remedy else ""
            click.echo(f"{click.style(f'{mark:4}', fg=colour)} {check.name:{width}}  {check.detail}{remedy}")
    failed = any(check.level is Level.FAIL for check in checks)
    sys.exit(EXIT_UNSUPPORTED if failed else EXIT_OK)

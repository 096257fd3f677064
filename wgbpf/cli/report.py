"""status and show: what runs, for people and for programs."""

import json
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ..launch import EXIT_FAILED, ControlError, ask, running
from .lifecycle import die

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def _statuses(interface: str | None) -> dict[str, Any]:
    names = [interface] if interface else running()
    try:
        return {name: ask(name, {"verb": "status"}) for name in names}
    except ControlError as error:
        die(str(error), error.code)
        raise


@click.command()
@click.argument("interface", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(interface: str | None, as_json: bool) -> None:
    """Show interfaces, their data path, counters and peers. Exit status 1 when none is running."""
    found = _statuses(interface)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo("wgbpf: no interface is running: start one with `wgbpf attach NIC`", err=True)
    else:
        # A pipe has no width: lines must not be folded for it.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
        for state in found.values():
            _print_status(console, state)
    sys.exit(0 if found else EXIT_FAILED)


def _print_status(console: Console, s: dict[str, Any]) -> None:
    state = "up" if s["up"] else "down"
    console.print(f"[bold]{s['interface']}[/bold]  {state}, {s['dataPath']} data path, pid {s['pid']}")
    console.print(f"  NICs {', '.join(s['nics']) or 'none'}; UDP port {s['listenPort']}; MTU {s['mtu']}")
    for key, value in s["info"].items():
        if value:
            console.print(f"  {key}: {value}")
    for way in ("receive", "transmit"):
        console.print(f"  {way}: {s['packets'][way]} packets, {bytes_text(s['bytes'][way])}")
    console.print(f"  guard: {_guard_text(s['guard'])}", markup=False)
    ended = [f"{h['count']} {h['result']} as {h['role']}" for h in s["handshakes"] if h["count"]]
    console.print(f"  handshakes: {', '.join(ended) or 'none'}; {s['sessions']} sessions")
    drops = [f"{d['count']} {d['reason']} ({d['direction']})" for d in s["drops"]]
    console.print(f"  drops: {', '.join(drops) or 'none'}")
    if not s["peers"]:
        console.print("  no peers: add one with `wg set`", markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("peer", "endpoint", "handshake", "received", "sent", "allowed ips"):
        table.add_column(column, overflow="fold")
    for key, peer in s["peers"].items():
        table.add_row(
            peer["name"] or key,
            peer["endpoint"] or "(none)",
            ago_text(peer["latestHandshake"]),
            bytes_text(peer["transferRx"]),
            bytes_text(peer["transferTx"]),
            ", ".join(peer["allowedIps"]) or "(none)",
        )
    console.print(table)


def _guard_text(guard: dict[str, Any]) -> str:
    if not guard["on"]:
        return f"off: {guard['text']}"
    state = "under load: handshakes must carry a cookie" if guard["underLoad"] else "peace"
    refused = [f"{n} {reason}" for reason, n in guard["refused"].items() if n]
    memory = f"{guard['memory'] / 1e6:.1f} MB"
    return (
        f"on, {guard['text']}; {state}; {guard['cookiesSent']} cookies sent; "
        f"refused {', '.join(refused) or 'none'}; {memory} for what others can fill"
    )


@click.command()
@click.argument("interface", required=False)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with the keys of wg's own JSON.")
def show(interface: str | None, as_json: bool) -> None:
    """Show interfaces and peers the way `wg show` does, without any secret."""
    found = _statuses(None if interface == "all" else interface)
    if as_json:
        keys = ("publicKey", "listenPort", "fwmark", "peers")
        click.echo(json.dumps({name: {key: s[key] for key in keys} for name, s in found.items()}, indent=2))
        return
    for position, (name, state) in enumerate(found.items()):
        if position:
            click.echo()
        _show_one(name, state)


def _show_one(name: str, s: dict[str, Any]) -> None:
    click.echo(f"{click.style('interface', fg='green', bold=True)}: {click.style(name, fg='green')}")
    if s["publicKey"]:
        _line("public key", s["publicKey"])
    _line("listening port", s["listenPort"])
    if s["fwmark"]:
        _line("fwmark", hex(s["fwmark"]))
    for key, peer in s["peers"].items():
        click.echo(f"\n{click.style('peer', fg='yellow', bold=True)}: {click.style(key, fg='yellow')}")
        if peer["endpoint"]:
            _line("endpoint", peer["endpoint"])
        _line("allowed ips", ", ".join(peer["allowedIps"]) or "(none)")
        if peer["latestHandshake"]:
            _line("latest handshake", ago_text(peer["latestHandshake"]))
        if peer["transferRx"] or peer["transferTx"]:
            received, sent = bytes_text(peer["transferRx"]), bytes_text(peer["transferTx"])
            _line("transfer", f"{received} received, {sent} sent")
        if peer["persistentKeepalive"]:
            _line("persistent keepalive", f"every {span_text(peer['persistentKeepalive'])}")


def _line(key: str, value: object) -> None:
    click.echo(f"  {click.style(key, bold=True)}: {value}")


def bytes_text(count: int) -> str:
    """As wg prints sizes."""
    value = float(count)
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            return f"{count} B" if unit == "B" else f"{value:.2f} {unit}"
        value /= 1024
    raise AssertionError


def ago_text(timestamp: int) -> str:
    if not timestamp:
        return "never"
    seconds = int(time.time()) - timestamp
    return "now" if seconds <= 0 else f"{span_text(seconds)} ago"


def span_text(seconds: int) -> str:
    parts = []
    for size, name in _SPANS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return ", ".join(parts) or "0 seconds"

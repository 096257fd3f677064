"""attach, detach, up, reload: starting, changing and ending controllers."""

import os
import sys
import time
from typing import Any

import click

from ..datapath import leftover
from ..launch import (
    EXIT_OK,
    EXIT_USAGE,
    ControlError,
    LaunchSpec,
    Outcome,
    ask,
    control_path,
    is_interface_name,
    is_running,
    start_in_background,
)

_STOP_TIMEOUT = 15.0

DATA_PATHS = ("auto", "kernel", "xdp", "tun", "tun-python")
MODES = ("auto", "native", "generic")
GUARDS = ("auto", "on", "off")


def die(message: str, code: int) -> None:
    """End the program with one line on stderr."""
    click.echo(f"wgbpf: {message}", err=True)
    sys.exit(code)


def _interface(_: click.Context, __: click.Parameter, value: str) -> str:
    if not is_interface_name(value):
        raise click.BadParameter("an interface name has 1 to 15 of the characters a-z A-Z 0-9 _ = + . -")
    return value


interface_option = click.option(
    "-i", "--interface", default="wg0", show_default=True, callback=_interface, help="WireGuard interface."
)


@click.command()
@click.argument("nics", metavar="NIC...", nargs=-1, required=True)
@interface_option
@click.option("-c", "--config", metavar="FILE", type=click.Path(), help="Configuration in wg(8) format.")
@click.option("--datapath", type=click.Choice(DATA_PATHS), help="Who carries packets.")
@click.option("--mode", type=click.Choice(MODES), help="How XDP programs are attached.")
@click.option("--guard", type=click.Choice(GUARDS), help="Whether XDP judges handshakes before the stack.")
@click.option(
    "--queues", type=click.IntRange(1, 16), help="Of the tun data path: how many CPUs carry packets."
)
@click.option("--replace", is_flag=True, help="Take off another XDP program that a NIC carries.")
@click.option("--metrics", metavar="ADDR:PORT", help="Where /metrics listens, or `off`.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground and log to stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens to single packets.")
def attach(
    nics: tuple[str, ...],
    interface: str,
    config: str | None,
    datapath: str | None,
    mode: str | None,
    guard: str | None,
    queues: int | None,
    replace: bool,
    metrics: str | None,
    foreground: bool,
    verbose: bool,
) -> None:
    """Make this host a WireGuard endpoint on one or more NICs.

    Without --config, /etc/wireguard/INTERFACE.conf is used; without that file a key is made once and
    kept, and `wg set` adds the peers. With a controller running for the interface already, the NICs are
    added to it.
    """
    if is_running(interface):
        if config or datapath or mode or guard or queues or metrics or foreground:
            given = "the controller is running: only NICs can be added to it (detach it to change options)"
            die(f"{interface}: {given}", EXIT_USAGE)
        for nic in nics:
            _ask(interface, {"verb": "attach", "nic": nic, "replace": replace})
            click.echo(f"{interface}: attached {nic}")
        return
    spec = LaunchSpec(
        interface,
        nics,
        None if config is None else os.path.abspath(config),
        datapath,
        mode,
        guard,
        foreground=foreground,
        metrics=metrics,
        verbose=verbose,
        replace=replace,
        queues=queues,
    )
    _start(spec)
    click.echo(f"{interface}: attached {', '.join(nics)}")


@click.command(hidden=True)
@click.argument("interface", callback=_interface)
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground and log to stderr.")
def up(interface: str, foreground: bool) -> None:
    """Create an interface for wg-quick or another manager to configure (same as `wgbpf INTERFACE`)."""
    if is_running(interface):
        die(f"{interface}: the controller is running already", 1)
    _start(LaunchSpec(interface, bring_up=False, metrics="off", foreground=foreground))


@click.command()
@click.argument("nics", metavar="[NIC...]", nargs=-1)
@interface_option
def detach(nics: tuple[str, ...], interface: str) -> None:
    """Take NICs away from an interface; without NIC, or with the last one, end it.

    The system is left as `attach` found it.
    """
    if not is_running(interface) and leftover.remove(interface):
        click.echo(f"{interface}: detached (its controller was gone)")
        return
    attached = _ask(interface, {"verb": "nics"})
    for nic in nics:
        if nic not in attached:
            die(f"{interface}: {nic} is not attached (attached: {', '.join(attached) or 'none'})", 1)
    if nics and set(nics) != set(attached):
        for nic in nics:
            _ask(interface, {"verb": "detach", "nic": nic})
            click.echo(f"{interface}: detached {nic}")
        return
    _ask(interface, {"verb": "stop"})
    deadline = time.monotonic() + _STOP_TIMEOUT
    while control_path(interface).exists():
        if time.monotonic() > deadline:
            die(f"{interface}: the controller did not end within {_STOP_TIMEOUT:.0f} s", 1)
        time.sleep(0.02)
    click.echo(f"{interface}: detached")


@click.command()
@interface_option
def reload(interface: str) -> None:
    """Read the configuration file again; sessions of unchanged peers go on."""
    for note in _ask(interface, {"verb": "reload"}):
        click.echo(f"{interface}: {note}", err=True)
    click.echo(f"{interface}: reloaded")


def _ask(interface: str, request: dict[str, Any]) -> list[str]:
    try:
        answer = ask(interface, request)
    except ControlError as error:
        die(str(error), error.code)
    return answer if isinstance(answer, list) else []


def _start(spec: LaunchSpec) -> None:
    if spec.foreground:
        os.execv(sys.executable, [sys.executable, "-m", "controller", spec.to_json()])
    outcome: Outcome = start_in_background(spec)
    for note in outcome.notes:
        click.echo(f"{spec.interface}: {note}", err=True)
    if outcome.code != EXIT_OK:
        die(outcome.message, outcome.code)

"""The command group, and `wgbpf IFNAME`, the way wg-quick starts a userspace implementation."""

import os

import click

from .. import __version__
from ..launch import is_interface_name
from . import diagnosis, keys, lifecycle, report

_BY_WG_QUICK = "WG_QUICK_USERSPACE_IMPLEMENTATION"


class Commands(click.Group):
    """An unknown command that is an interface name starts that interface."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        first = args[0]
        if self.get_command(ctx, first) is None and len(args) == 1 and is_interface_name(first):
            if _BY_WG_QUICK in os.environ or any(map(str.isdigit, first)):
                return "up", lifecycle.up, [first]
            # Rather a misspelt command than an interface.
            ctx.fail(f"No such command '{first}'. An interface of that name: wgbpf up {first}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if len(args) == 2 and args[0] in ("-f", "--foreground"):
            args = ["up", "--foreground", args[1]]
        return super().parse_args(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", message="%(prog)s %(version)s")
def main() -> None:
    """WireGuard at the network card.

    `wgbpf attach eth0` makes this host a WireGuard endpoint on eth0; `wg` and `wg-quick` work with the
    interface as with any other. `wgbpf wg0` alone creates the interface wg0 and leaves the rest to
    wg-quick (WG_QUICK_USERSPACE_IMPLEMENTATION=wgbpf).

    Exit status: 0 done, 1 failed, 2 usage, 3 this machine cannot do it (see `wgbpf doctor`).
    """


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"wgbpf {__version__}")


for command in (
    lifecycle.attach,
    lifecycle.detach,
    lifecycle.up,
    lifecycle.reload,
    report.status,
    report.show,
    keys.genkey,
    keys.pubkey,
    keys.genpsk,
    diagnosis.doctor,
):
    main.add_command(command)

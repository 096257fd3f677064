"""genkey, pubkey, genpsk: as wg(8) has them."""

import os
import sys

import click

from ..config.keys import decode_key, encode_key
from ..config.keys import genkey as make_key
from ..config.keys import genpsk as make_psk
from ..config.keys import pubkey as public_of


@click.command()
def genkey() -> None:
    """Print a new private key."""
    _warn_if_readable()
    click.echo(encode_key(make_key(os.urandom)))


@click.command()
def genpsk() -> None:
    """Print a new preshared key."""
    _warn_if_readable()
    click.echo(encode_key(make_psk(os.urandom)))


@click.command()
def pubkey() -> None:
    """Read a private key from standard input and print its public key."""
    try:
        private = decode_key(sys.stdin.readline().strip())
    except ValueError as error:
        click.echo(f"wgbpf: {error}", err=True)
        sys.exit(1)
    click.echo(encode_key(public_of(private)))


def _warn_if_readable() -> None:
    """A secret that goes to a file others may read."""
    mode = os.fstat(sys.stdout.fileno()).st_mode
    if mode & 0o170000 == 0o100000 and mode & 0o077:
        click.echo("Warning: writing to a file that others may read: set umask to 077", err=True)

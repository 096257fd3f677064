"""`python -m wgbpf.cli` is `wgbpf`."""

from . import main

if __name__ == "__main__":
    main(prog_name="wgbpf")

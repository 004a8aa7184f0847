"""Entry points: `deskull`, which is `python -m deskull`, and `deskull-bids`."""

import sys

from deskull.cli import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def bids() -> None:
    """Run the BIDS App: `deskull-bids` is `deskull bids`."""
    sys.exit(run(["bids", *sys.argv[1:]]))


if __name__ == "__main__":
    main()

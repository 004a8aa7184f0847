"""Write the descriptors for Boutiques, when the table of outputs or the options have changed.

    python deploy/generate.py

writes deploy/boutiques/*.json. A test compares them with the tables.
"""

from pathlib import Path

from deskull.interfaces.boutiques import make_bids_descriptor, make_descriptor
from deskull.tables import make_json

ROOT = Path(__file__).parents[1]


def make_files() -> dict[Path, bytes]:
    """Make the content of each file."""
    folder = ROOT / "deploy/boutiques"
    return {
        folder / "deskull.json": make_json(make_descriptor()),
        folder / "deskull-bids.json": make_json(make_bids_descriptor()),
    }


if __name__ == "__main__":
    for path, content in make_files().items():
        path.write_bytes(content)

"""Write the JSON Schema of each file that deskull writes for other programs.

Run it after a change to one of these dataclasses:

    python docs/site_schemas.py
"""

from pathlib import Path

from deskull.corrections_table import Correction
from deskull.network.card import Card
from deskull.record import Record
from deskull.review.marks import Mark
from deskull.text_files import make_json
from deskull.typed_json import make_schema

FOLDER = Path(__file__).parent / "reference" / "schemas"
SCHEMAS = {
    "record": (Record, "Record of a scan: X_record.json, and deskull strip --record"),
    "card": (Card, "Card of a set of weights: card.json"),
    "correction": (Correction, "Row of the table of corrected masks: deskull_corrected.tsv"),
    "mark": (Mark, "Row of the table of marks: deskull_review.tsv"),
}
"""Dataclass and title of each schema, by the name of its file."""


def make_schemas() -> dict[Path, bytes]:
    """Make the content of each file of schemas."""
    return {
        FOLDER / f"{name}.schema.json": make_json(make_schema(kind, title))
        for name, (kind, title) in SCHEMAS.items()
    }


if __name__ == "__main__":
    for path, content in make_schemas().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(path)

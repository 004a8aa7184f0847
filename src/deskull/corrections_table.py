"""The table of masks that were corrected by hand: what the viewer hands on to fine-tuning.

`Correction` is a row of it, `load_corrections` its one reader and `save_corrections` its one
writer. The viewer lists in it what is saved there (`deskull.review.save_correction`);
`deskull.train.index` takes from it the pairs to learn from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from deskull.errors import InputError
from deskull.image.writing import save_bytes
from deskull.text_files import make_tsv, read_schema, read_table
from deskull.typed_json import rest

TABLE = "deskull_corrected.tsv"
"""Its name, in a folder of results."""

SCHEMA = 2
"""Version of the table. 1 has no column ``schema``, only image, mask and manual."""


@dataclass(frozen=True)
class Correction:
    """A scan whose mask was corrected by hand; a row of the table.

    Parameters
    ----------
    image
        Path of the scan, as seen from the table's folder.
    mask
        Path of its corrected mask, as seen from the table's folder.
    manual
        ``"true"``: the mask is preferred to others of the same scan.
    saved
        UTC time stamp; empty in rows of schema 1.
    by
        Name of the user who saved it; empty if unknown.
    schema
        Version of the table's format.
    more
        Cells of columns that the user added, such as ``part``, by their names.

    Examples
    --------
    >>> Correction("sub-01_T1w.nii.gz", "sub-01_T1w_mask_manual.nii.gz", by="ann").schema
    2
    """

    image: str
    mask: str
    manual: str = "true"
    saved: str = ""
    by: str = ""
    schema: int = SCHEMA
    more: Mapping[str, str] = rest()


COLUMNS = tuple(one.name for one in fields(Correction) if one.name != "more")


def load_corrections(path: Path) -> list[Correction]:
    """Read the table of corrected masks; tables of schema 1 as well.

    Returns
    -------
    list
        Rows, sorted by mask; of several with one mask the last.

    Raises
    ------
    InputError
        If the table cannot be read, lacks a column or a path, or is of a newer schema.
    """
    found = {}
    for line, row in read_table(path, ("image", "mask")):
        image, mask = row["image"], row["mask"]
        if not (image and mask):
            lacking = "mask" if image else "image"
            raise InputError(
                f"{path}: line {line} names no {lacking}; expected the paths of a scan and of its "
                "corrected mask. Complete the line, or delete it."
            )
        schema = read_schema(row, SCHEMA, path)
        saved, by = row.get("saved", ""), row.get("by", "")
        more = {name: cell for name, cell in row.items() if name not in COLUMNS}
        found[mask] = Correction(image, mask, "true", saved, by, schema, more)
    return [found[mask] for mask in sorted(found)]


def save_corrections(corrections: Iterable[Correction], path: Path) -> None:
    """Write the table of corrected masks, whole, sorted by mask, with columns that a user added.

    Raises
    ------
    OutputError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_corrections([Correction("b.nii", "b_mask.nii")], Path(folder, TABLE))
    ...     [row.image for row in load_corrections(Path(folder, TABLE))]
    ['b.nii']
    """
    ordered = sorted(corrections, key=lambda row: row.mask)
    added = list(dict.fromkeys(name for row in ordered for name in row.more))
    rows = [
        [getattr(replace(row, schema=SCHEMA), name) for name in COLUMNS]
        + [row.more.get(name, "") for name in added]
        for row in ordered
    ]
    save_bytes(make_tsv([*COLUMNS, *added], rows).encode("utf-8", "surrogateescape"), path)

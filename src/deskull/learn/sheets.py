"""Contact sheets of an index, so that a person can look before the machine learns."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from deskull.image.volume import load_volume
from deskull.image.writing import save_bytes
from deskull.learn.checking import INSIDE
from deskull.learn.labels import TISSUE, load_tissues
from deskull.picture import Shown, draw_sheets, encode_png


def save_sheets(
    index: pd.DataFrame,
    path: str | os.PathLike[str],
    observe: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw each pair of an index, and each label map with its brain labels, a dozen to a page.

    Parameters
    ----------
    index
        As `make_index` or `load_index` give it.
    path
        PNG of the first page; the next are ``NAME-2.png`` and so on.
    observe
        Called with the number of rows done, and of all.

    Returns
    -------
    list
        Paths of the pages.

    Raises
    ------
    InputError
        If an image cannot be read, or a mask is on another grid.
    OutputError
        If a page cannot be written.
    """
    path = Path(path)
    pages: list[Path] = []
    for image in draw_sheets(_load_rows(index, observe)):
        number = len(pages) + 1
        name = path.name if number == 1 else f"{path.stem}-{number}{path.suffix}"
        pages.append(path.with_name(name))
        save_bytes(encode_png(image), pages[-1])
    return pages


def _load_rows(index: pd.DataFrame, observe: Callable[[int, int], None] | None) -> Iterator[Shown]:
    for number, (_, row) in enumerate(index.iterrows(), start=1):
        if observe is not None:
            observe(number, len(index))
        if row["mask"]:
            scan, mask = load_volume(row["image"]), load_volume(row["mask"]).data > INSIDE
        else:
            scan = load_volume(row["label_map"])
            labels = load_tissues()["labels"]
            mask = np.isin(scan.data, [label for name in TISSUE for label in labels[name]])
        words = [
            row["person"],
            row["session"],
            row["contrast"],
            Path(row["mask"]).name or scan.name,
        ]
        yield Shown("   ".join(word for word in words if word), scan.data, mask, scan.grid)

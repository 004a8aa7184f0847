"""The heads to learn from: label maps and pairs, loaded, prepared and cached.

What a table of pairs may say is `index.py`; a head is prepared in `labels.py` or `pairs.py`, and
those of a pack (`pack.py`) are prepared already.
Prepared heads are kept as .npy files under the hash of all that made them, and mapped into
memory.
"""

import hashlib
import json
import logging
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deskull import __version__
from deskull.errors import ImageFileError, InputError, OutputError
from deskull.image.file_names import HEADS, find_suffix, name_head
from deskull.image.volume import Volume, load_volume
from deskull.image.writing import find_files, make_folder
from deskull.text_files import TABLES
from deskull.train.index import collect_parts, load_index
from deskull.train.labels import (
    CLOSING_MM,
    LABEL_TABLE,
    MAY_CLOSE,
    RIM_MM,
    TISSUE,
    LabelledHead,
    has_label_table,
    is_label_map,
    load_label_table,
    load_tissues,
    make_labelled_head,
)
from deskull.train.pack import PACK, load_pack
from deskull.train.pairs import RealHead, describe_preparation, make_real_head
from deskull.train.recipe import Recipe
from deskull.train.sources import Sources, join_sources

logger = logging.getLogger(__name__)

CACHE_VERSION = 5
"""Raised when the same settings begin to give other arrays."""

Arrays = dict[str, NDArray[Any]]
Show = Callable[[str], None]


def load_sources(
    paths: Sequence[Path],
    recipe: Recipe,
    cache: Path | None = None,
    table: Mapping[str, list[int]] | None = None,
    show: Show = lambda line: None,
) -> Sources:
    """Load folders of label maps, tables of pairs and packs; prepare each head for a recipe.

    A head that cannot be read is named in the log and left out.

    Parameters
    ----------
    paths
        Folders of label maps, tables as `index.load_index` reads them, or packs.
    recipe
        Recipe with the window and the preparation.
    cache
        Folder that keeps prepared heads for the next run; None keeps nothing.
    table
        Labels by tissue in the label maps, see `labels.load_label_table`; maps beside a
        ``labels.toml`` use that.
    show
        Called with one line of progress per head.

    Raises
    ------
    InputError
        If a path is none of these, nothing is found, a pack was made for another preparation,
        or a participant is fixed in two parts.
    """
    packs = [load_pack(path, recipe) for path in paths if path.suffix.lower() == PACK]
    paths = [path for path in paths if path.suffix.lower() != PACK]
    if not paths:
        return join_sources(packs)
    labelled: list[LabelledHead] = []
    real: list[RealHead] = []
    heads = pd.concat([_list_heads(path) for path in paths], ignore_index=True)
    fixed = collect_parts(heads)
    folders = {Path(label_map).parent for label_map in heads["label_map"] if label_map}
    tables = {one: load_label_table(one / LABEL_TABLE) for one in folders if has_label_table(one)}
    for number, row in enumerate(heads.to_dict("records"), start=1):
        show(f"preparing head {number} of {len(heads)}")
        participant, image, mask = row["participant"], Path(row["image"]), Path(row["mask"])
        if row["label_map"]:
            with _leaving_out():
                path = Path(row["label_map"])
                own = tables.get(path.parent, table)
                labelled.append(_load_label_map(participant, path, own, cache))
        if row["mask"] and not row["image"]:
            logger.warning("left out: %s: a mask without an image; expected its scan.", mask)
        elif row["mask"]:
            with _leaving_out():
                real.append(_load_pair(participant, (image, mask), row["border"], recipe, cache))
    if not labelled and not real:
        hint = "".join(
            f" For scans with their masks make an index first: deskull index {path} -o index.tsv; "
            "then give index.tsv in place of the folder."
            for path in paths[:1]
            if path.is_dir()
        )
        where = ", ".join(map(str, paths))
        raise InputError(f"{where}: no label map and no pair found.{hint}")
    return join_sources([Sources(labelled, real, fixed), *packs])


@contextmanager
def _leaving_out() -> Iterator[None]:
    """Name a head that cannot be read in the log, and leave it out."""
    try:
        yield
    except InputError as error:
        logger.warning("left out: %s", error)


def _list_heads(path: Path) -> pd.DataFrame:
    """List heads by participant, image, mask and label_map, each "" where there is none."""
    if path.is_dir():
        names = sorted(p for p in path.iterdir() if not p.name.startswith("."))
        names = [p for p in names if p.name != LABEL_TABLE]
        files = [p for p in names if p.is_file() and find_suffix(p) in HEADS]
        rows = [(name_head(p).participant, "", "", str(p), "", 0.0) for p in files]
        columns = ["participant", "image", "mask", "label_map", "part", "border"]
        return pd.DataFrame(rows, columns=columns)
    if path.suffix.lower() not in TABLES:
        raise InputError(
            f"{path}: expected a folder of label maps, a .tsv or .csv table of pairs, or a {PACK} "
            "pack of prepared heads."
        )
    return load_index(path)


def _load_label_map(
    participant: str, path: Path, table: Mapping[str, list[int]] | None, cache: Path | None
) -> LabelledHead:
    key = {
        "label_map": describe_file(path),
        "table": load_tissues()["labels"] if table is None else table,
        "closing_mm": CLOSING_MM,
        "may_close": MAY_CLOSE,
        "rim_mm": RIM_MM,
        "tissue": TISSUE,
    }

    def make() -> Arrays:
        head = make_labelled_head(_check_label_map(load_volume(path), path), table)
        return _to_arrays(head)

    arrays = cached(cache, key, make)
    size = float(arrays.pop("voxel_size"))
    return LabelledHead(participant, voxel_size=size, **arrays)


def _to_arrays(head: LabelledHead | RealHead) -> Arrays:
    """Return what a prepared head holds, but for its names."""
    return {k: np.asarray(v) for k, v in vars(head).items() if not isinstance(v, str)}


def _check_label_map(volume: Volume, path: Path) -> Volume:
    """Refuse scans, which a folder of label maps may contain as well."""
    if np.isfinite(volume.data).all() and not is_label_map(volume.data):
        raise InputError(
            f"{path}: a scan, not a label map; expected few whole numbers in large pieces. Give "
            "scans with their masks as a table: see deskull index."
        )
    return volume


def _load_pair(
    participant: str, pair: tuple[Path, Path], border: float, recipe: Recipe, cache: Path | None
) -> RealHead:
    image, mask = pair
    key = {
        "image": describe_file(image),
        "mask": describe_file(mask),
        "border": border,
        **describe_preparation(recipe),
    }

    def make() -> Arrays:
        scan, reference = load_volume(image), load_volume(mask)
        return _to_arrays(make_real_head(scan, reference, recipe, participant, border))

    arrays = cached(cache, key, make)
    size = float(arrays.pop("voxel_size"))
    return RealHead(participant, image.name, voxel_size=size, **arrays)


def describe_file(path: Path) -> list[Any]:
    """Return what identifies an image without reading it: paths, sizes, modification times.

    Raises
    ------
    ImageFileError
        If a file of the image is gone.
    """
    try:
        facts = [(file.resolve(), file.stat()) for file in find_files(path)]
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be read ({error.strerror}).") from error
    return [[str(where), fact.st_size, fact.st_mtime_ns] for where, fact in facts]


def cached(folder: Path | None, key: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """Open the arrays that were made under the same key, or make and keep them.

    Kept arrays are mapped from their files, not read: the system loads and drops their pages as
    it sees fit, and the processes of one machine share them.

    Parameters
    ----------
    folder
        Folder of the cache, made if missing; None keeps nothing. A killed run leaves no half
        entry, and two runs may use it at once.
    key
        All that the arrays depend on, ready for JSON.
    make
        Function that makes the arrays.

    Raises
    ------
    OutputError
        If the arrays cannot be written.

    Examples
    --------
    >>> cached(None, {"size": 3}, lambda: {"ones": np.ones(3)})
    {'ones': array([1., 1., 1.])}
    """
    if folder is None:
        return make()
    text = json.dumps({"version": CACHE_VERSION, "deskull": __version__, **key}, sort_keys=True)
    entry = folder / hashlib.sha256(text.encode()).hexdigest()[:32]
    if entry.is_dir():
        try:
            return _open_arrays(entry)
        except (OSError, ValueError):  # damaged or cut short
            shutil.rmtree(entry, ignore_errors=True)
    arrays = make()
    make_folder(folder)
    partial = entry.with_suffix(f".{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir()
        for name, array in arrays.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        partial.rename(entry)
    except OSError as error:
        if not entry.is_dir():  # else another run was faster
            raise OutputError(
                f"{entry}: not written ({error.strerror or error}). Check the space and "
                "permissions of its folder, or choose another --cache."
            ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _open_arrays(entry)


def _open_arrays(entry: Path) -> Arrays:
    """Map the arrays of an entry into memory; changes to them are not written back."""
    return {path.stem: np.load(path, mmap_mode="c") for path in sorted(entry.glob("*.npy"))}

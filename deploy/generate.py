"""Write what is made from the tables of outputs and options, when they have changed.

    python deploy/generate.py

writes deploy/boutiques/*.json and docs/reference/outputs.md. A test compares them with the tables.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from deskull.errors import EXTRAS
from deskull.image.bids_names import BidsName
from deskull.interfaces.boutiques import make_bids_descriptor, make_descriptor
from deskull.outputs import OPTIONS, OUTPUTS, Option, Output
from deskull.text_files import make_json

ROOT = Path(__file__).parents[1]
T1W, T2W = (BidsName({"sub": "01"}, suffix) for suffix in ("T1w", "T2w"))
PAGE = """# Outputs and options

<!-- Made by `python deploy/generate.py` from src/deskull/outputs.py: change it there. -->

## Outputs

`deskull strip` writes each output to the file that its option names, or under its usual name into
a folder; `deskull batch` and `deskull-bids` write those that `--outputs` lists; in Python
`result.save(mask="mask.nii.gz")` takes their names. Images lie on the scan's own grid.

{outputs}

Images may end in `.nii.gz`, `.nii`, `.hdr`/`.img`, `.mgz` or `.mgh`. A batch adds the usual name
to the stem of the scan: `sub-01_T1w_mask.nii.gz`. The record is always written by `batch` and
`deskull-bids`. With `--one-mask` the scans that get their mask from another one have those outputs
that are made from a mask: {from_mask}.

{packages}

## In a BIDS data set

{bids}

Files that BIDS has no name for are listed in `.bidsignore`.

## Options

{options}
"""


def make_page() -> str:
    """Make docs/reference/outputs.md."""
    from_mask = ", ".join(f"`{row.name}`" for row in OUTPUTS if row.source == "mask")
    needs = [row for row in OUTPUTS if row.package]
    packages = "\n".join(
        f"`{row.name}` needs the extra `{EXTRAS[row.package]}`: "
        f"`pip install 'deskull[{EXTRAS[row.package]}]'`."
        for row in needs
    )
    return PAGE.format(
        outputs=_make_table(
            ("output", "option of `strip`", "usual name", "what is written"),
            map(_list_output, OUTPUTS),
        ),
        from_mask=from_mask,
        packages=packages,
        bids=_make_table(
            ("output", "of a T1w image", "of a T2w image", "in BIDS"),
            (_list_bids(row) for row in OUTPUTS if row.bids),
        ),
        options=_make_table(
            ("option", "default", "range", "what it does"), map(_list_option, OPTIONS)
        ),
    )


def _list_output(row: Output) -> Sequence[str]:
    flags = ", ".join(f"`{flag}`" for flag in row.flags)
    return f"`{row.name}`", flags, f"`X{row.ending}`", row.description


def _list_bids(row: Output) -> Sequence[str]:
    assert row.bids is not None
    folder = f"{row.bids_folder}/" if row.bids_folder else ""
    named = (row.bids(T1W, ""), row.bids(T2W, "T2w"))
    names = [f"`{folder}{name}{row.bids_ending or row.endings[0]}`" for name in named]
    return f"`{row.name}`", *names, "no" if row.bids_ignore else "yes"


def _list_option(option: Option) -> Sequence[str]:
    flags = ", ".join(f"`{flag}`" for flag in option.flags)
    default = "" if option.default is None else str(option.default)
    low, high = ("" if end is None else f"{end:g}" for end in (option.low, option.high))
    span = f"{low} to {high}" if high else f"from {low}" if low else ""
    return flags, default, span, option.description


def _make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def make_files() -> dict[Path, bytes]:
    """Make the content of each file."""
    return {
        ROOT / "deploy/boutiques/deskull.json": make_json(make_descriptor()),
        ROOT / "deploy/boutiques/deskull-bids.json": make_json(make_bids_descriptor()),
        ROOT / "docs/reference/outputs.md": make_page().encode(),
    }


if __name__ == "__main__":
    for path, content in make_files().items():
        path.write_bytes(content)

"""Where it went worst: pictures of the lowest masks of a comparison, one below the other.

    python benchmarks/compare.py HEADS --out runs/compare
    python benchmarks/gallery.py HEADS runs/compare/compare.tsv --out gallery.webp

Strips once more the heads on which deskull agreed least with the reference, and draws the slices
with the most errors: orange is too much, blue is missed. Beside the name stand Dice, the tool's
own score and what it warned of. The docs show heads of `truth.py` only: nobody's scan.
"""

import argparse
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from compare import find_pairs
from deskull import Stripper, load_volume
from deskull.evaluate import load_canonical_mask
from deskull.image.grid import to_canonical_array
from deskull.measure.metrics import dice
from deskull.picture.differences import draw_differences
from processes import DESKULL

CAPTION = 22  # pixels of a line of text


def main() -> None:
    """Draw the worst heads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("table", type=Path, help="compare.tsv of these heads")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("gallery.webp"))
    options = parser.parse_args()
    stripper = Stripper.load(device="cpu")
    pairs = find_pairs(options.heads, "")
    named = {scan.name.removesuffix(".nii.gz"): (scan, mask) for scan, mask in pairs}
    worst = find_worst(pd.read_csv(options.table, sep="\t"), options.count)
    page = stack([draw_head(stripper, name, *named[name]) for name in worst])
    page.save(options.out, quality=70)


def find_worst(table: pd.DataFrame, count: int) -> list[str]:
    """Names of the heads with the lowest Dice, the lowest first."""
    return list(table[table["method"] == DESKULL.name].nsmallest(count, "dice")["head"])


def draw_head(stripper: Stripper, name: str, scan: Path, reference: Path) -> Image.Image:
    """Strip a head, and draw its errors below a line of text."""
    volume, truth = load_volume(scan), load_canonical_mask(reference)
    result = stripper(volume)
    mask = to_canonical_array(result.mask, volume.grid)
    data = to_canonical_array(volume.data, volume.grid)
    picture = draw_differences(mask, truth.inside, truth.grid, data)
    doubts = ", ".join(flag.name for flag in result.flags) or "none"
    caption = (
        f"{name.removeprefix('truth-')}: Dice {dice(mask, truth.inside):.3f}, "
        f"score {result.score:.0f}, doubts: {doubts}"
    )
    page = Image.new("RGB", (picture.width, picture.height + CAPTION), "black")
    page.paste(picture, (0, CAPTION))
    ImageDraw.Draw(page).text((4, 3), caption, "white", ImageFont.load_default(14))
    return page


def stack(pictures: list[Image.Image]) -> Image.Image:
    """Put pictures one below the other."""
    page = Image.new(
        "RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "black"
    )
    top = 0
    for picture in pictures:
        page.paste(picture, (0, top))
        top += picture.height
    return page


if __name__ == "__main__":
    main()

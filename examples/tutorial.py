"""Walk the published recipe step by step, with a picture made at each: `docs/tutorial`.

    python examples/tutorial.py                                  # on copies of the bundled head
    python examples/tutorial.py heads --recipe article           # on heads of make_dataset.py
    python examples/tutorial.py NFBS_Dataset --recipe article    # on NFBS, nothing else changes

Without --recipe the published one runs at 4 mm instead of 2, with a third of its filters: that
takes minutes on two cores. Interrupted, the same command goes on. Pictures of real heads are
pictures of people: write those with --out to a place of your own.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import nn

from deskull import Stripper, load_volume
from deskull.image.grid import Grid, to_canonical_array
from deskull.image.resample import resample
from deskull.measure.metrics import dice, iou
from deskull.network.unet import UNet
from deskull.prepare.bias import BiasSettings, correct_bias
from deskull.prepare.conform import conform, find_head_centres, make_window
from deskull.prepare.intensity import find_air, normalise
from deskull.train.data import load_sources
from deskull.train.export import export
from deskull.train.index import load_index, make_index, save_index
from deskull.train.loop import Limits, train
from deskull.train.recipe import Recipe, load_recipe
from deskull.train.split import SplitPlan, settle_split
from make_dataset import make_dataset

ABOUT = {
    "licence": "none: a walk-through",
    "population": "the heads of the walk-through",
    "convention": "that of their masks",
    "data": "the heads of the walk-through",
}
ACROSS = {"sagittal": 0, "coronal": 1, "axial": 2}
SIDES = {"sagittal": "PA", "coronal": "LR", "axial": "LR"}
"""What lies at the left and right of each plane: the subject's left is on the left."""
COPIES = (
    "Nobody's scan is shown: the heads are copies of the bundled synthetic one, each turned, "
    "stretched and bent in its own way, and scanned with its own shading and noise. "
)
CURVES = {"training": ("steps.tsv", "#0072B2"), "validation": ("validation.tsv", "#D55E00")}
RAW = "intensity (scanner units)"
Panel = tuple[str, str, np.ndarray, np.ndarray | None]
"""Title, unit of the intensities, intensities, mask."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, help="folder of heads with masks")
    parser.add_argument("--recipe", help="such as article (default: article, smaller)")
    parser.add_argument("--steps", type=int, default=160, help="16 are an epoch")
    parser.add_argument("--run", type=Path, default=Path("runs/tutorial"))
    parser.add_argument("--out", type=Path, default=Path("docs/tutorial"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe) if options.recipe else make_small_recipe()
    if options.data is None:
        make_dataset(options.run / "heads", [], copies=12, voxel_size=2.0)
    data = options.data or options.run / "heads"
    shown = COPIES if options.data is None else ""
    walk(data, recipe, options.steps, options.run, options.out, shown)


def make_small_recipe() -> Recipe:
    """Make the published recipe an eightieth as dear: 4 mm, four levels from 6 filters on."""
    recipe = load_recipe("article")
    return replace(
        recipe,
        name="article, small",
        window=replace(recipe.window, shape=(48, 64, 80), voxel_size=4.0),
        network=replace(recipe.network, filters=(6, 12, 24, 48)),
    )


def walk(data: Path, recipe: Recipe, steps: int, run: Path, out: Path, shown: str = "") -> None:
    """Walk from a folder of heads to brains, and write the page; `shown` says whose heads."""
    out.mkdir(parents=True, exist_ok=True)
    run.mkdir(parents=True, exist_ok=True)
    page = [HEAD.format(recipe=recipe.name, shown=shown)]
    page += describe_index(data, run / "index.tsv")
    page += tell_preparation(run / "index.tsv", recipe, out)
    page += tell_network(recipe)
    page += tell_training(run, recipe, steps, out)
    page += tell_predictions(run, out)
    (out / "README.md").write_text("\n\n".join(page) + "\n", "utf-8")


def describe_index(data: Path, path: Path) -> list[str]:
    """Find the pairs of scan and mask."""
    index, findings = make_index(data)
    save_index(index, path)
    columns = ["participant", "session", "contrast", "image", "mask", "shape", "voxel_size"]
    few = index.head(5)[columns]
    few = few.assign(**{name: [Path(p).name for p in few[name]] for name in ("image", "mask")})
    count = index["participant"].nunique()
    return [
        "## 1. Find the data",
        "```\ndeskull index heads -o index.tsv --pictures look.png\n```",
        f"{len(index)} pairs of a scan and its mask, of {count} participants; {len(findings)} "
        "files were left out. The table begins so:",
        to_markdown(few),
    ]


def tell_preparation(index: Path, recipe: Recipe, out: Path) -> list[str]:
    """Show what happens to one head before the network sees it."""
    row = load_index(index).iloc[0]
    scan, mask = load_volume(row["image"]), load_volume(row["mask"])
    inside = mask.data > 0.5
    brain = np.where(inside, scan.data, 0)
    draw_slices(
        out / "sample.png",
        scan.grid,
        [
            ("scan", RAW, scan.data, None),
            ("mask", RAW, scan.data, inside),
            ("scan x mask", RAW, brain, None),
        ],
    )
    settings = recipe.preparation.n4 or BiasSettings(3, (20, 10, 10, 5))
    even, field = correct_bias(scan.data, scan.grid.voxel_size, settings)
    draw_slices(
        out / "bias.png",
        scan.grid,
        [
            ("before", RAW, scan.data, None),
            ("field", "factor", field, None),
            ("after N4", RAW, even, None),
        ],
    )
    shape, size = recipe.window.shape, recipe.window.voxel_size
    centre = np.mean(find_head_centres(even, scan.grid, size * min(shape)), axis=0)
    window = make_window(centre, scan.grid, shape, size)
    image = conform(even, scan.grid, window, fill=find_air(even, scan.grid))
    target = resample(inside.astype(np.float32), scan.grid, window, order=0) > 0.5
    draw_slices(
        out / "window.png",
        window,
        [("window", RAW, image, None), ("with the mask", RAW, image, target)],
    )
    seen = normalise(image)
    draw_histograms(out / "normalised.png", image, seen)
    head = seen[seen > seen.min()]
    return [
        "## 2. One sample",
        "The scan, its mask as an outline, and the brain: the scan times the mask.",
        "![scan, mask and brain](sample.png)",
        "## 3. Bias correction",
        f"N4 at a shrink factor of {settings.shrink}, with "
        f"{', '.join(map(str, settings.iterations))}"
        f" iterations: the scan is divided by a smooth field, here from {field.min():.2f} to "
        f"{field.max():.2f}.",
        "![before, field, after](bias.png)",
        "## 4. Resampled and cropped",
        f"To {size:g} mm, {' x '.join(map(str, shape))} voxels about the middle of the head's "
        "box: linear for images, nearest neighbour for masks.",
        "![the window](window.png)",
        "## 5. Normalised",
        "Clipped at the 0.5th and 99.5th percentile, then zero mean and unit variance over what "
        f"is no air. Of this head the network sees values from {head.min():.1f} to "
        f"{head.max():.1f}.",
        "![histograms](normalised.png)",
    ]


def tell_network(recipe: Recipe) -> list[str]:
    """List the layers, with the shapes that they give."""
    network = UNet(recipe.network).eval()
    columns = ["layer", "what", "channels", "voxels", "weights"]
    rows: list[tuple[object, ...]] = []

    def note(name: str, kind: str, module: nn.Module, answer: torch.Tensor) -> None:
        _, channels, *shape = answer.shape
        weights = sum(p.numel() for p in module.parameters())
        voxels = " x ".join(map(str, shape))
        rows.append((name, kind, channels, voxels, f"{weights:,}"))

    for name, kind, module in list_layers(network):
        module.register_forward_hook(
            lambda module, _, answer, name=name, kind=kind: note(name, kind, module, answer)
        )
    with torch.no_grad():
        network(torch.zeros(1, 1, *recipe.window.shape))
    total = sum(p.numel() for p in network.parameters())
    spec = recipe.network
    return [
        "## 6. The network",
        f"A 3D U-Net with {len(spec.filters)} levels and {total:,} weights: {spec.norm} norm, "
        f"dropout {spec.dropout:g}, two convolutions of kernel 3 in a block.",
        to_markdown(pd.DataFrame(rows, columns=columns)),
    ]


def list_layers(network: UNet) -> Iterator[tuple[str, str, nn.Module]]:
    """Give the parts worth a line, from the image to the answer."""
    if network.spec.patch > 1:
        yield "stem", "blocks of voxels together", network.stem
    yield "enter", "block", network.enter
    for number, down in enumerate(network.down, start=1):
        yield f"down {number}", "pool, dropout, block", down
    for number, up in enumerate(reversed(network.up), start=1):
        yield f"up {number}", "upsample, join, dropout, block", up
    yield "head", "to logits", network.head


def tell_training(run: Path, recipe: Recipe, steps: int, out: Path) -> list[str]:
    """Train, and draw loss and IoU."""
    sources = load_sources([run / "index.tsv"], recipe, run / "cache")
    split = settle_split(run, sources, SplitPlan(validation=0.2, test=0.25), recipe.seed)
    limits = Limits(steps=steps)
    train(split.train, recipe, run, limits=limits, validation=split.validation, show=print)
    draw_curves(run, out / "curves.png")
    counts = [len(part.participants) for part in (split.train, split.validation, split.test)]
    settings = recipe.training
    return [
        "## 7. Training",
        "```\ndeskull train index.tsv --recipe article --test 0.25 --out runs/article\n```",
        f"{counts[0]} training, {counts[1]} validation and {counts[2]} test participants. "
        f"{steps} steps of {settings.batch} heads, {settings.optimiser.capitalize()} at "
        f"{settings.learning_rate:g}, loss: {settings.loss}. The weights of the lowest validation "
        "loss are kept.",
        "![loss and IoU](curves.png)",
    ]


def tell_predictions(run: Path, out: Path) -> list[str]:
    """Strip the test participants, and show the best and the worst."""
    export({"segment": run}, run / "weights", ABOUT)
    stripper = Stripper.load(run / "weights", device="cpu")
    tested = pd.read_json(run / "split.json", typ="series")["test"]
    index = load_index(run / "index.tsv")
    found = []
    for _, row in index[index["participant"].isin(tested)].iterrows():
        scan, truth = load_volume(row["image"]), load_volume(row["mask"]).data > 0.5
        mask = stripper(scan).mask > 0
        found.append((dice(mask, truth), iou(mask, truth), row["participant"], scan, truth, mask))
    found.sort(key=lambda one: one[0])
    scores = [(name, f"{d:.4f}", f"{i:.4f}") for d, i, name, *_ in found]
    table = pd.DataFrame(scores, columns=["participant", "Dice", "IoU"])
    page = [
        "## 8. On held-out participants",
        "```\ndeskull export runs/article --about about.json --out weights/article\n"
        "deskull sub-X_T1w.nii.gz --weights weights/article\n```",
        "Masks on the scan's own grid, against the reference:",
        to_markdown(table),
    ]
    for name, one in (("best", found[-1]), ("worst", found[0])):
        score, _, participant, scan, truth, mask = one
        panels: list[Panel] = [
            ("reference", RAW, scan.data, truth),
            ("prediction", RAW, scan.data, mask),
            ("reference, stripped", RAW, np.where(truth, scan.data, 0), None),
            ("prediction, stripped", RAW, np.where(mask, scan.data, 0), None),
        ]
        draw_slices(out / f"{name}.png", scan.grid, panels)
        page += [f"The {name}, {participant}, Dice {score:.3f}:", f"![the {name}]({name}.png)"]
    return page


def draw_slices(path: Path, grid: Grid, panels: list[Panel]) -> None:
    """Draw a row for each plane, a column for each panel; masks as outlines.

    Panels of the same unit have one window, that of the first of them, and a colour bar under
    the last: what looks brighter is brighter.
    """
    figure = Figure(figsize=(2.2 * len(panels), 7.2), layout="constrained", facecolor="0.1")
    axes = figure.subplots(len(ACROSS), len(panels), squeeze=False)
    size, windows = grid.canonical().voxel_size, {}
    for column, (title, unit, data, mask) in enumerate(panels):
        values = to_canonical_array(data, grid)
        dark, bright = windows.setdefault(unit, np.percentile(values, [1, 99.7]))
        for row, (plane, axis) in zip(axes, ACROSS.items(), strict=True):
            middle = values.shape[axis] // 2
            right, up = (size[k] for k in range(3) if k != axis)
            flat = np.take(values, middle, axis).T
            shown = row[column].imshow(
                flat, cmap="gray", vmin=dark, vmax=bright, origin="lower", aspect=up / right
            )
            if mask is not None:
                inside = np.take(to_canonical_array(mask, grid), middle, axis).T
                row[column].contour(inside, [0.5], colors="orangered", linewidths=0.9)
            for place, side in zip((0.02, 0.98), SIDES[plane], strict=True):
                words = {"ha": "left" if place < 0.5 else "right", "va": "center"}
                words["path_effects"] = [withStroke(linewidth=2, foreground="black")]
                where = row[column].transAxes
                row[column].text(place, 0.5, side, transform=where, color="0.9", size=8, **words)
            row[column].set_axis_off()
        axes[0, column].set_title(title, fontsize=9, color="0.9")
        bar = figure.colorbar(shown, ax=axes[:, column], location="bottom", shrink=0.8, pad=0.01)
        bar.set_label(unit, color="0.9", size=8)
        bar.ax.tick_params(colors="0.9", labelsize=7)
    save(figure, path)


def draw_histograms(path: Path, before: np.ndarray, after: np.ndarray) -> None:
    """Draw how often each intensity occurs, before and after."""
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    panels = [("in the window", "scanner units", before)]
    panels += [("as the network sees it", "standard deviations", after)]
    for axis, (title, unit, values) in zip(figure.subplots(1, 2), panels, strict=True):
        axis.hist(values.ravel(), bins=80, log=True, color="0.4")
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(f"intensity ({unit})", fontsize=8)
        axis.set_ylabel("voxels (logarithmic axis)", fontsize=8)
    save(figure, path)


def draw_curves(run: Path, path: Path) -> None:
    """Draw loss and IoU over the steps, of the run's own logs."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    for axis, column in zip(figure.subplots(1, 2), ("loss", "iou"), strict=True):
        for label, (name, colour) in CURVES.items():
            if (run / name).exists():
                table = pd.read_csv(run / name, sep="\t")
                axis.plot(table["step"], table[column], color=colour, marker=".", label=label)
        axis.set_ylabel({"loss": "loss", "iou": "IoU (0 to 1)"}[column], fontsize=8)
        axis.set_xlabel("training step", fontsize=8)
        axis.legend(fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a picture, in few colours where it is grey."""
    from PIL import Image

    figure.savefig(path, dpi=90)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(64)
    small.save(path, optimize=True)


def to_markdown(table: pd.DataFrame) -> str:
    """Write a table as Markdown."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


HEAD = """# The published recipe, step by step

This page and its pictures were made by `examples/tutorial.py`, which is short and meant to be
read beside it. {shown}Recipe: {recipe}. To walk the same way on NFBS, change one path:

```
python examples/tutorial.py NFBS_Dataset --recipe article --out my_tutorial
```"""


if __name__ == "__main__":
    main()

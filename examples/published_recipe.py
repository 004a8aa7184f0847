# %% [markdown]
# This page is a notebook, [published-recipe.ipynb](published-recipe.ipynb), that was executed as it stands. It walks
# the way of a published skull-stripping recipe: raw T1w scans with brain masks, N4 bias correction, a coarse grid, a 3D
# U-Net, Dice loss, and the mask back on the raw scan.
#
# Nobody's scan is shown: the heads are copies of the bundled synthetic one, each turned, stretched and bent in its own
# way. To walk the same way on [NFBS](../background/article.md#the-data), change one path, `DATA`, and set `SMALL = False`.
#
# It needs the [extra](../start/install.md#extras) `train`, in the folder of deskull's source.

# %%
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

DATA = Path("runs/tutorial/heads")  # or Path("NFBS_Dataset")
RUN = Path("runs/tutorial/run")
SMALL = True  # 4 mm instead of 2, and fewer filters: minutes on two cores
STEPS = 96  # 16 are an epoch
COPIES = 10  # heads to make, where DATA is not there
VOXEL_SIZE = 3.0  # of those, in mm

# %% [markdown]
# ## 1. Find the data

# %%
from deskull.train.index import make_index, save_index

if not DATA.exists():
    from make_dataset import make_dataset  # from the folder examples/

    make_dataset(DATA, [], copies=COPIES, voxel_size=VOXEL_SIZE)
index, findings = make_index(DATA)
save_index(index, DATA / "index.tsv")
print(
    f"{len(index)} pairs of {index['participant'].nunique()} participants, {len(findings)} left out"
)
index.assign(image=index["image"].map(lambda path: Path(path).name))[
    ["participant", "session", "contrast", "image", "shape", "voxel_size"]
].head(3)

# %% [markdown]
# On the command line: `deskull index heads -o index.tsv --pictures look.png`.
#
# ## 2. One sample
#
# The scan, its mask as an outline, and the brain: the scan times the mask.

# %%
from deskull import load_volume
from deskull.image.grid import to_canonical_array


def show(grid, **panels):
    """Draw the middle slice of each plane; a panel is an image, or an image and a mask."""
    figure, axes = plt.subplots(len(panels), 3, figsize=(7.2, 2.4 * len(panels)), squeeze=False)
    for row, (title, panel) in zip(axes, panels.items()):
        image, mask = panel if isinstance(panel, tuple) else (panel, None)
        image = to_canonical_array(np.asarray(image, np.float32), grid)
        low, high = np.percentile(image, [1, 99.7])
        for axis, ax in enumerate(row):
            middle = image.shape[axis] // 2
            flat = np.take(image, middle, axis).T
            ax.imshow(flat, cmap="gray", vmin=low, vmax=high, origin="lower")
            if mask is not None:
                inside = np.take(to_canonical_array(np.asarray(mask), grid), middle, axis).T
                ax.contour(inside, [0.5], colors="orangered", linewidths=1)
            ax.set_axis_off()
        row[0].set_title(title.replace("_", " "), fontsize=9, loc="left")
    figure.tight_layout(pad=0.3)
    plt.show()


scan, mask = (load_volume(index.iloc[0][name]) for name in ("image", "mask"))
inside = mask.data > 0.5
show(scan.grid, scan_and_mask=(scan.data, inside), scan_times_mask=scan.data * inside)

# %% [markdown]
# ## 3. Bias correction
#
# N4 with a shrink factor of 3 and 20, 10, 10, 5 iterations divides the scan by a smooth field.

# %%
from deskull.prepare.bias import correct_bias
from deskull.train.recipe import load_recipe

recipe = load_recipe("article")
even, field = correct_bias(scan.data, scan.grid.voxel_size, recipe.preparation.n4)
print(f"the field goes from {field.min():.2f} to {field.max():.2f}")
show(scan.grid, before=scan.data, field=field, after_N4=even)

# %% [markdown]
# ## 4. Resampled, cropped, normalised
#
# The published grid is 2 mm, 96 x 128 x 160 voxels about the middle of the head; linear for images, nearest neighbour for
# masks. Intensities are clipped at the 0.5th and 99.5th percentile, and brought to zero mean and unit variance over the head.

# %%
from deskull.image.resample import resample
from deskull.prepare.conform import conform, find_head_centres, make_window
from deskull.prepare.intensity import find_air, normalise

if SMALL:
    window = replace(recipe.window, shape=(48, 64, 80), voxel_size=4.0)
    network = replace(recipe.network, filters=(6, 12, 24, 48))
    recipe = replace(recipe, name="article, small", window=window, network=network)
shape, size = recipe.window.shape, recipe.window.voxel_size
centre = np.mean(find_head_centres(even, scan.grid, size * min(shape)), axis=0)
grid = make_window(centre, scan.grid, shape, size)
seen = normalise(conform(even, scan.grid, grid, fill=find_air(even, scan.grid)))
target = resample(inside.astype(np.float32), scan.grid, grid, order=0) > 0.5
print(f"{shape} voxels of {size:g} mm, values from {seen.min():.1f} to {seen.max():.1f}")
show(grid, what_the_network_sees=(seen, target))

# %% [markdown]
# ## 5. The network

# %%
from deskull.network.unet import UNet

unet = UNet(recipe.network)
spec = recipe.network
print(f"{sum(p.numel() for p in unet.parameters()):,} weights in {len(spec.filters)} levels")
print(
    f"filters {spec.filters}, {spec.norm} norm, dropout {spec.dropout}, {spec.upsample} upsampling"
)

# %% [markdown]
# ## 6. Training
#
# On the command line: `deskull train index.tsv --recipe article --test 0.2 -o runs/article`. The split is by participant, and
# the weights of the lowest validation loss are kept. Interrupted, the same cell goes on.

# %%
from deskull.train.data import load_sources
from deskull.train.loop import Limits, train
from deskull.train.split import SplitPlan, settle_split

RUN.mkdir(parents=True, exist_ok=True)
sources = load_sources([DATA / "index.tsv"], recipe, RUN / "cache")
split = settle_split(RUN, sources, SplitPlan(validation=0.2, test=0.2), recipe.seed)
train(split.train, recipe, RUN, limits=Limits(steps=STEPS), validation=split.validation)
for part in ("train", "validation", "test"):
    print(part, len(getattr(split, part).participants), "participants")

# %%
figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.6))
for ax, column in zip(axes, ("loss", "iou")):
    for name in ("steps", "validation"):
        table = pd.read_csv(RUN / f"{name}.tsv", sep="\t")
        ax.plot(table["step"], table[column], marker=".", label=name)
    ax.set(xlabel="step", title=column)
    ax.legend(fontsize=8)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## 7. On the test participants
#
# `deskull export` makes weights that any deskull can use, and the masks come back on the scan's own voxels.

# %%
from deskull import Stripper
from deskull.measure.metrics import dice, iou
from deskull.train.export import export

ABOUT = {"licence": "none: a walk-through", "population": "these heads"}
ABOUT |= {"convention": "that of their masks", "data": "these heads"}
export({"segment": RUN}, RUN / "weights", ABOUT)
stripper = Stripper.load(RUN / "weights", device="cpu")
tested = pd.read_json(RUN / "split.json", typ="series")["test"]
rows = []
for _, row in index[index["participant"].isin(tested)].iterrows():
    scan, truth = load_volume(row["image"]), load_volume(row["mask"]).data > 0.5
    found = stripper(scan).mask > 0
    rows.append((row["participant"], round(dice(found, truth), 3), round(iou(found, truth), 3)))
pd.DataFrame(rows, columns=["participant", "Dice", "IoU"])

# %%
show(scan.grid, reference=(scan.data, truth), prediction=(scan.data, found))

# %% [markdown]
# A few minutes of training on a few heads of one kind: enough to see every step, not to compete. The same path at full size,
# on [122 real heads and to its last epoch](../background/article.md#on-122-real-heads):
#
# ![Loss and overlap on the training and validation participants over 960 steps](../images/article_curves.webp)
#
# How the published recipe and ours compare on the same heads and the same time is
# [measured](../background/article.md#side-by-side). For data of your own, begin with the default weights:
# [train on your own heads](train.md).

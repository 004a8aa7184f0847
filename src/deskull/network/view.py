"""What the networks see of a scan, a window about the brain, and what they answer.

`locate` finds the brain by the coarse network, `segment` looks at the window about it. Which grid
a window has is chosen in `prepare/conform.py`; how a network is run is `engine.py`.
"""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deskull.image.grid import Grid
from deskull.network.engine import Engine
from deskull.network.weights import Stage
from deskull.prepare.conform import conform, find_head_centres, make_window, measure_extent
from deskull.prepare.intensity import normalise
from deskull.prepare.postprocess import clean_mask

Observer = Callable[[str, NDArray[np.float32], Grid], None]
"""Called with the name, array and grid of what a step made."""


def ignore(name: str, array: NDArray[np.float32], grid: Grid) -> None:
    """Take no notice of what a step made: the default `Observer`."""


SURE = 3.0
"""Logit of what a network is sure of: a probability of 0.95."""

UNSURE = 2
"""Voxels along each axis that the surface crosses, one at either end: `locate`, whose voxels are
large, is not sure of them (experiment 21 of the lab book)."""

OFF_CENTRE, MISFIT = 0.08, 0.06
"""Of the window's shortest edge, and of the voxel size: a brain that is off by more is looked at
once more."""


class Scan(NamedTuple):
    """A scan to be looked at.

    Parameters
    ----------
    data
        Finite intensities, (X, Y, Z) float32.
    air
        Intensity of air, with which a window beyond the field is filled.
    grid
        Grid of the data.
    """

    data: NDArray[np.float32]
    air: float
    grid: Grid


class Brain(NamedTuple):
    """Where a brain lies.

    Parameters
    ----------
    centre
        Middle of the brain in RAS+ mm, (3,).
    extent
        Length of the brain along x, y, z in mm, (3,); None if it is not known.
    """

    centre: NDArray[np.float64]
    extent: NDArray[np.float64] | None = None


class View(NamedTuple):
    """What a network saw of a scan, and what it answered.

    Parameters
    ----------
    window
        Grid of the window, with axes near RAS+.
    image
        Normalised intensities, (X, Y, Z) float32.
    logits
        Output of the network, (C, X, Y, Z) float32; the first channel is the brain.
    """

    window: Grid
    image: NDArray[np.float32]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A network of a set of weights, ready to run; safe to share between threads.

    Parameters
    ----------
    stage
        The network and its window.
    engine
        Engine that runs the network.
    threads
        Largest number of cores to use.
    """

    stage: Stage
    engine: Engine
    threads: int

    def look(self, scan: Scan, brain: Brain, observe: Observer = ignore) -> View:
        """Conform, normalise, and run the network on the window about a brain."""
        size = self.stage.window.choose_voxel_size(brain.extent)
        window = make_window(brain.centre, scan.grid, self.stage.window.shape, size)
        conformed = conform(scan.data, scan.grid, window, fill=scan.air, threads=self.threads)
        image = normalise(conformed)
        observe("conformed", conformed, window)
        observe("normalised", image, window)
        release_memory()
        return View(window, image, self.engine(image))


def release_memory() -> None:
    """Give freed memory back to the system, before the network asks for its own.

    The C library of Linux keeps what it expects to need again, tens of MB after a resampling.
    Other systems give it back by themselves.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
        if trim is not None:
            trim(0)


def locate(scan: Scan, coarse: Network | None, fine: Network, observe: Observer = ignore) -> Brain:
    """Find the brain by the coarse network; the middle of the head without one."""
    window = (coarse or fine).stage.window
    centres = find_head_centres(
        scan.data, scan.grid, window.choose_voxel_size() * min(window.shape)
    )
    found, most = Brain(np.mean(centres, axis=0)), 0
    if coarse is None:
        return found
    for centre in centres:
        view = coarse.look(scan, Brain(centre))
        observe("locate", view.logits[0], view.window)
        core = _find_core(view.logits[0])
        if core.sum() > most:
            middle, extent = measure_extent(core, view.window)
            found = Brain(middle, extent + UNSURE * np.array(view.window.voxel_size))
            most = int(core.sum())
    return found


def segment(scan: Scan, network: Network, brain: Brain, observe: Observer = ignore) -> View:
    """Look at the window about the brain; once more where the brain does not fit it."""
    stage = network.stage
    view = network.look(scan, brain, observe)
    core = _find_core(view.logits[0])
    if core.any() and stage.centre == "brain":
        seen = Brain(*measure_extent(core, view.window))
        if _is_misplaced(seen, view.window, stage.window.choose_voxel_size(seen.extent)):
            view = network.look(scan, seen, observe)
    return view


def _find_core(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Largest piece of what a network is sure of; no neck that it only takes to be likely."""
    return clean_mask(logits > max(0.0, min(SURE, float(logits.max()) / 2)))


def _is_misplaced(brain: Brain, window: Grid, voxel_size: float) -> bool:
    """Whether a brain lies off the middle of its window, or needs other voxels than it has."""
    size = window.voxel_size[0]
    off = np.abs(brain.centre - window.centre).max() / (size * min(window.shape))
    return bool(off > OFF_CENTRE or abs(voxel_size / size - 1) > MISFIT)

"""The main job, top to bottom: a scan in, its brain out.

load -> (N4) -> locate the brain -> conform -> normalise -> segment -> back to native space ->
clean -> border. How networks see a scan is `network/view.py`; the other steps are in `prepare/`.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from deskull import __version__
from deskull.errors import EmptyMaskError, InputError, OptionError, WeightsError
from deskull.image.grid import Box
from deskull.image.volume import Volume, load_volume, make_volume, refuse_mask
from deskull.measure.metrics import volume_ml
from deskull.measure.quality import Flag
from deskull.measure.score import Quality, judge
from deskull.measure.traits import measure_traits
from deskull.network.engine import (
    count_threads,
    find_device,
    find_runtime,
    find_runtimes,
    make_engine,
)
from deskull.network.view import Network, Observer, Scan, View, ignore, locate, segment
from deskull.network.weights import Stage, Weights, bundled_folder, find_channel, load_weights
from deskull.prepare.bias import correct_bias
from deskull.prepare.conform import to_native
from deskull.prepare.intensity import find_air, make_finite
from deskull.prepare.postprocess import clean_mask, move_border
from deskull.record import DONE, FAILED, Record, WeightsName, describe_scan
from deskull.result import Result
from deskull.settings import BiasSettings, Settings

NO_BRAIN = "no-brain"
"""Doubt about a frame in which no brain was found, where other frames have one."""


class Stripper:
    """Weights made ready once, to be called on many scans; safe to share between threads.

    Parameters
    ----------
    weights
        Weights, loaded and verified.
    device
        ``"cpu"``, ``"cuda:0"``, ``"mps"``.
    threads
        Cores to use, at most.
    runtime
        ``"openvino"``, ``"onnxruntime"`` or ``"torch"``.

    Examples
    --------
    >>> from deskull.demo import find_demo
    >>> from deskull.image.volume import load_volume
    >>> stripper = Stripper.load(threads=1)
    >>> result = stripper(load_volume(find_demo()), Settings(threshold=0.4))
    >>> result.mask.shape
    (112, 152, 184)
    """

    def __init__(self, weights: Weights, device: str, threads: int, runtime: str) -> None:
        self.weights, self.device, self.threads = weights, device, threads
        self.runtime = f"{runtime} {find_runtimes()[runtime]}"

        def load(stage: Stage) -> Network:
            return Network(stage, make_engine(stage, device, threads, runtime), threads)

        self._segment = load(weights.segment)
        self._locate = load(weights.locate) if weights.locate is not None else None
        import_module("scipy.ndimage")  # slow to import: now, while a scan is still being read

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the stripper was made of: the weights are loaded again on the other side."""
        folder = self.weights.segment.tensors.parent
        is_bundled = folder.parent == bundled_folder()
        weights = self.weights.name if is_bundled else str(folder.absolute())
        runtime = self.runtime.partition(" ")[0]
        return _load_again, (weights, self.weights.digest, self.device, self.threads, runtime)

    @classmethod
    def load(
        cls,
        weights: str | Path = "default",
        device: str = "auto",
        threads: int | None = None,
        runtime: str | None = None,
    ) -> "Stripper":
        """Load weights and compile their networks.

        Parameters
        ----------
        weights
            Name of a bundled set, or a folder.
        device
            ``"auto"``, ``"cpu"``, ``"cuda[:N]"`` or ``"mps"``.
        threads
            Cores to use; all that the process may have if not given.
        runtime
            ``"openvino"``, ``"onnxruntime"`` or ``"torch"``; the best installed if not given.

        Raises
        ------
        WeightsError
            If the weights are missing or damaged.
        InputError
            If a device or runtime is unknown or not there, or `threads` is out of range.
        """
        if threads is not None and not 1 <= threads <= 1024:
            raise OptionError(f"threads {threads}; expected 1 to 1024.")
        found = find_device(device)
        return cls(
            load_weights(weights), found, threads or count_threads(), find_runtime(found, runtime)
        )

    def __call__(
        self,
        scan: Volume | SpatialImage,
        settings: Settings | None = None,
        observe: Observer | None = None,
    ) -> Result:
        """Strip one scan; touches no disk.

        Parameters
        ----------
        scan
            A loaded volume, or a nibabel image of one 3D frame.
        settings
            Threshold, border and the like; the defaults if not given.
        observe
            Called with the name, array and grid of what each step made.

        Returns
        -------
        Result
            Mask, probability and all that is made from them.

        Raises
        ------
        EmptyMaskError
            If no brain was found.
        ImageFileError, WeightsError
            If the scan is a mask, or the weights cannot do what `settings` ask for.
        """
        volume = scan if isinstance(scan, Volume) else _make_volume(scan)
        refuse_mask(volume)
        work = _Work(self, volume, settings or Settings(), observe or ignore)
        return work.run()

    def make_empty_result(
        self, volume: Volume, error: str, settings: Settings | None = None
    ) -> Result:
        """Make the result of a frame without a brain among others: an empty mask, and a doubt.

        Parameters
        ----------
        volume
            The frame, which may hold no head.
        error
            Reason why there is no mask.
        settings
            Settings of the other frames.
        """
        settings = settings or Settings()
        empty = np.zeros(volume.grid.shape, np.float32)
        quality = Quality(0, [Flag(NO_BRAIN, error)], {})
        record = _Work(self, volume, settings, ignore).make_record(None, quality, None)
        return Result(
            volume,
            mask=empty > 0,
            probability=empty,
            bias_corrected=volume.data,
            flags=quality.flags,
            volume_ml=math.nan,
            record=replace(record, status=FAILED, error=error),
            fill=settings.fill,
            threads=self.threads,
        )


def strip(
    scan: str | Path | Volume | SpatialImage,
    *,
    weights: str | Path = "default",
    device: str = "auto",
    threads: int | None = None,
    frame: int | None = None,
    settings: Settings | None = None,
    **choices: Any,
) -> Result:
    """Strip one scan.

    Parameters
    ----------
    scan
        Path of an image file or DICOM folder, a loaded volume, or a nibabel image.
    weights
        Name of a bundled set of weights, or a folder.
    device
        ``"auto"``, ``"cpu"``, ``"cuda[:N]"`` or ``"mps"``.
    threads
        Cores to use; all that the process may have if not given.
    frame
        Frame of a 4D file, from 0.
    settings
        Threshold, border and the like.
    **choices
        Fields of `Settings` instead: ``threshold=0.4``, ``border=1``, ``csf=False``, ``n4=True``,
        ``fill=-1``.

    Returns
    -------
    Result
        Mask, probability and all that is made from them.

    Raises
    ------
    OptionError
        If a choice is unknown or out of range, or stands beside `settings`.

    Examples
    --------
    >>> from deskull.demo import find_demo
    >>> result = strip(find_demo(), border=1)
    >>> result.score > 90
    True
    >>> result.save(mask="mask.nii.gz", brain="brain.nii.gz")  # doctest: +SKIP
    """
    settings = _choose(settings, choices)
    stripper = Stripper.load(weights, device, threads)
    if isinstance(scan, str | Path):
        scan = load_volume(scan, frame=frame)
    elif not isinstance(scan, Volume):
        scan = _make_volume(scan, frame)
    elif frame not in (None, scan.frame):
        raise OptionError(f"frame {frame}: a Volume is one frame. Choose it in load_volume.")
    return stripper(scan, settings)


def _choose(settings: Settings | None, choices: dict[str, Any]) -> Settings | None:
    """Take settings as they are given, or make them of keywords."""
    known = [field.name for field in fields(Settings)]
    if unknown := set(choices) - set(known):
        raise OptionError(f"{min(unknown)}: no setting; expected one of {', '.join(known)}.")
    if settings is not None and choices:
        raise OptionError(f"settings and {', '.join(choices)}; give one or the other.")
    return Settings(**choices) if choices else settings


def _make_volume(scan: Any, frame: int | None = None) -> Volume:
    """Make a volume of a nibabel image; an array does not say how its voxels lie."""
    if isinstance(scan, str | Path):
        way = "Give it deskull.load_volume(path), or call deskull.strip(path)."
        raise InputError(f"{scan}: a Stripper reads no files. {way}")
    if not isinstance(scan, SpatialImage):
        shape = f" of shape {scan.shape}" if hasattr(scan, "shape") else ""
        raise InputError(
            f"{type(scan).__name__}{shape}: it has no voxel size or orientation; expected a path, "
            "a nibabel image or a Volume. Make an image: nibabel.Nifti1Image(array, affine)."
        )
    return make_volume(scan, frame=frame)


def _load_again(weights: str, digest: str, device: str, threads: int, runtime: str) -> Stripper:
    """Make a pickled stripper again, if the weights are the same ones."""
    stripper = Stripper.load(weights, device, threads, runtime)
    if stripper.weights.digest != digest:
        raise WeightsError(
            f"{weights}: other weights than those of the pickled Stripper (SHA-256 "
            f"{stripper.weights.digest[:12]}…, expected {digest[:12]}…). Install the same "
            "version of deskull, or copy the folder of the weights."
        )
    return stripper


@dataclass
class _Work:
    """One scan on its way through a stripper."""

    stripper: Stripper
    volume: Volume
    settings: Settings
    observe: Observer
    timings: dict[str, float] = field(default_factory=dict)

    def run(self) -> Result:
        """Strip the scan."""
        volume, grid = self.volume, self.volume.grid
        weights, threads = self.stripper.weights, self.stripper.threads
        channel = find_channel(weights, self.settings)
        data, air = make_finite(volume.data, grid)
        corrected = None
        bias = self._choose_n4()
        if bias is not None:
            with self._timed("n4"):
                corrected, _ = correct_bias(data, grid.voxel_size, bias, threads)
                self.observe("n4", corrected, grid)
                data, air = corrected, find_air(corrected, grid)
        view = self._look(Scan(data, air, grid))
        with self._timed("to_native"):
            logits, box = to_native(view.logits[channel], view.window, grid, threads=threads)
            probability = _to_probability(logits)
        with self._timed("clean"):
            mask = self._make_mask(probability, box)
        whole = np.zeros(grid.shape, np.float32)
        whole[box] = probability
        self.observe("probability", whole, grid)
        with self._timed("flags"):
            traits = measure_traits(view.image, view.logits[0], view.window.voxel_size[0])
            quality = judge(volume, mask, whole, traits, weights.card.likeness)
        ml = volume_ml(mask, grid.voxel_volume)
        return Result(
            volume,
            mask=mask,
            probability=whole,
            bias_corrected=corrected,
            flags=quality.flags,
            volume_ml=ml,
            record=self.make_record(ml, quality, bias),
            fill=self.settings.fill,
            threads=threads,
        )

    def _choose_n4(self) -> BiasSettings | None:
        """Choose how bias is corrected: the user's way, else the recipe's, else not."""
        chosen, recipe = self.settings.n4, self.stripper.weights.card.segment.preparation.n4
        if isinstance(chosen, BiasSettings):
            return chosen
        if chosen is False or (chosen is None and recipe is None):
            return None
        return recipe or BiasSettings()

    def _look(self, scan: Scan) -> View:
        """Let the networks find the brain, and look at the window about it."""
        fine, coarse = self.stripper._segment, self.stripper._locate
        with self._timed("locate"):
            brain = locate(scan, coarse, fine, self.observe)
        with self._timed("segment"):
            view = segment(scan, fine, brain, self.observe)
        for name, channel in zip(fine.stage.spec.outputs, view.logits, strict=True):
            self.observe(f"logits_{name}", channel, view.window)
        return view

    def _make_mask(self, probability: NDArray[np.float32], box: Box) -> NDArray[np.bool_]:
        volume, settings = self.volume, self.settings
        mask = np.zeros(volume.grid.shape, dtype=bool)
        mask[box] = probability >= settings.threshold
        self.observe("mask_raw", mask.astype(np.float32), volume.grid)
        mask = clean_mask(mask)
        if not mask.any():
            raise EmptyMaskError(
                f"{volume.name}: no brain found. Is it a head, and is the brain in its field of "
                "view? --steps DIR writes what the network saw."
            )
        mm, size = settings.border, volume.grid.voxel_size
        if not (mask := move_border(mask, size, mm, self.stripper.threads)).any():
            raise EmptyMaskError(f"{volume.name}: a border of {mm:g} mm leaves no brain.")
        return mask

    def make_record(self, ml: float | None, quality: Quality, bias: BiasSettings | None) -> Record:
        """Say what was done, and what came of it."""
        stripper = self.stripper
        return Record(
            status=DONE,
            deskull=__version__,
            weights=WeightsName(stripper.weights.name, stripper.weights.digest),
            runtime=stripper.runtime,
            device=stripper.device,
            threads=stripper.threads,
            settings=replace(self.settings, n4=bias),
            input=describe_scan(self.volume),
            volume_ml=None if ml is None else round(ml, 3),
            score=quality.score,
            flags=tuple(quality.flags),
            traits=quality.traits,
            seconds={name: round(value, 4) for name, value in self.timings.items()},
        )

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.timings[name] = time.perf_counter() - began


def _to_probability(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits into probabilities, in place."""
    np.exp(np.negative(logits, out=logits), out=logits)
    return np.reciprocal(np.add(logits, 1, out=logits), out=logits)

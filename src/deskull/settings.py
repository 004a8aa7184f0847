"""What a user may choose about a mask, and the default of each choice.

The only place of these defaults: the command line, the interfaces, the viewer and the quality
code read them here. Nothing heavy is imported.
"""

from dataclasses import dataclass

from deskull.errors import InputError, OptionError
from deskull.typed_json import any_number

MIN_THRESHOLD, MAX_THRESHOLD = 0.001, 0.999
MAX_BORDER = 50.0
"""Largest shift of a mask's surface in mm, in or out."""


@dataclass(frozen=True)
class BiasSettings:
    """How N4 runs.

    Parameters
    ----------
    shrink
        N4 sees every n-th voxel of a 1 mm scan. Other voxel sizes are shrunk axis by axis to
        the same mm, so that the time and the field depend little on the scan: at 0.5 mm twice
        as much, 5 mm slices not at all.
    iterations
        Largest number of iterations at each resolution of the spline, coarse to fine; at least one
        level.

    Raises
    ------
    InputError
        If `shrink` or an iteration is below 1, or there is no level.

    Examples
    --------
    >>> BiasSettings(shrink=3, iterations=(20, 10)).iterations
    (20, 10)
    """

    shrink: int = 4
    iterations: tuple[int, ...] = (50, 50, 30, 20)

    def __post_init__(self) -> None:
        if self.shrink < 1:
            raise InputError(f"N4 shrink factor {self.shrink}; expected 1 or more.")
        if not self.iterations or min(self.iterations) < 1:
            raise InputError(
                f"N4 iterations {self.iterations}; expected one number above zero per level, "
                "such as 50, 50, 30, 20."
            )


@dataclass(frozen=True)
class Settings:
    """What a user may choose.

    Parameters
    ----------
    threshold
        Probability from which on a voxel is brain.
    border
        Millimetres by which the mask's surface is moved at the end; plus grows.
    csf
        False gives brain tissue and ventricles without the CSF around, if the weights can.
    n4
        Whether bias is corrected before the network sees the image, or how; None leaves it to
        the weights' recipe.
    fill
        Intensity outside of the brain.

    Raises
    ------
    OptionError
        If a value is out of range.

    Examples
    --------
    >>> Settings(border=1.5).threshold
    0.5
    """

    threshold: float = 0.5
    border: float = 0.0
    csf: bool = True
    n4: bool | BiasSettings | None = None
    fill: float = any_number(0.0)

    def __post_init__(self) -> None:
        if not MIN_THRESHOLD <= self.threshold <= MAX_THRESHOLD:
            raise OptionError(
                f"threshold {self.threshold}; expected a probability from {MIN_THRESHOLD} to "
                f"{MAX_THRESHOLD}. (To move the mask's surface by millimetres use the border.)"
            )
        if not -MAX_BORDER <= self.border <= MAX_BORDER:
            raise OptionError(
                f"border {self.border}; expected millimetres from {-MAX_BORDER:g} to "
                f"{MAX_BORDER:g}."
            )

"""What a user may choose about a mask, and the default of each choice.

The only place of these defaults: the command line, the interfaces, the viewer and the quality
code read them here. Nothing heavy is imported.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deskull.errors import OptionError

if TYPE_CHECKING:
    from deskull.prepare.bias import BiasSettings

MIN_THRESHOLD, MAX_THRESHOLD = 0.001, 0.999
MAX_BORDER = 50.0
"""Largest shift of a mask's surface in mm, in or out."""


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
    n4: "bool | BiasSettings | None" = None
    fill: float = 0.0

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

    def to_dict(self) -> dict[str, Any]:
        """Return the settings fit for JSON, which has no number for NaN and infinity."""
        shown = self.fill if math.isfinite(self.fill) else str(self.fill)
        return asdict(self) | {"fill": shown}

"""deskull: raw head MRI in, brain out.

>>> import deskull
>>> result = deskull.strip("sub-01_T1w.nii.gz")  # doctest: +SKIP
>>> result.save(mask="mask.nii.gz", brain="brain.nii.gz")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = ["DeskullError", "Result", "Settings", "Stripper", "Volume", "load_volume", "strip"]

if TYPE_CHECKING:
    from deskull.errors import DeskullError
    from deskull.image.volume import Volume, load_volume
    from deskull.result import Result
    from deskull.settings import Settings
    from deskull.stripper import Stripper, strip

_HOMES = {
    "DeskullError": "deskull.errors",
    "Result": "deskull.result",
    "Settings": "deskull.settings",
    "Stripper": "deskull.stripper",
    "Volume": "deskull.image.volume",
    "load_volume": "deskull.image.volume",
    "strip": "deskull.stripper",
}


def __getattr__(name: str) -> Any:
    """Import the public names when first used, so that the command line starts at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'deskull' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

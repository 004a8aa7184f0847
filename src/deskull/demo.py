"""A head that comes with the package, stripped, and compared with its exact truth.

The head was made by our own generator from a label map (see NOTICE); nobody's scan is in it.
"""

from importlib import resources
from pathlib import Path

import numpy as np

from deskull.image.volume import Volume, load_volume
from deskull.measure.metrics import dice
from deskull.result import Result
from deskull.stripper import Stripper

HEAD, TRUTH = "demo_T1w.nii.gz", "demo_T1w_truth.nii.gz"


def find_demo() -> Path:
    """Path of the bundled synthetic head.

    Examples
    --------
    >>> find_demo().name
    'demo_T1w.nii.gz'
    """
    return Path(str(resources.files("deskull"))) / "data" / HEAD


def load_demo() -> tuple[Volume, Volume]:
    """Load the bundled synthetic head and its exact brain mask.

    Examples
    --------
    >>> head, truth = load_demo()
    >>> head.grid.matches(truth.grid)
    True
    """
    head = find_demo()
    return load_volume(head), load_volume(head.with_name(TRUTH))


def strip_demo(stripper: Stripper) -> tuple[Result, float]:
    """Strip the bundled head.

    Returns
    -------
    tuple
        The result, and its Dice against the truth.
    """
    head, truth = load_demo()
    result = stripper(head)
    return result, dice(result.mask, np.asarray(truth.data > 0.5))

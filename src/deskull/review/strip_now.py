"""Stripping a scan from the page, for a probability that was not kept."""

import threading
from collections.abc import Callable
from dataclasses import replace

from deskull.errors import InputError, WeightsError
from deskull.image.volume import Volume, count_frames
from deskull.network.weights import Weights
from deskull.record import Record
from deskull.result import Result
from deskull.settings import Settings
from deskull.stripper import Stripper

STEPS = {
    "locate": "looking for the brain",
    "conformed": "running the network",
    "mask_raw": "making the mask",
    "probability": "checking the mask",
}
"""What follows each intermediate image of the stripper, as the page shows it."""

_AGAIN = "Strip it again as before, with the probability among its --outputs."


class StripNow:
    """Strips scans one after the other, with weights that are loaded for the first of them.

    Parameters
    ----------
    load
        Makes the stripper.
    """

    def __init__(self, load: Callable[[], Stripper]) -> None:
        self._load, self._lock = load, threading.Lock()
        self._stripper: Stripper | None = None
        self.steps: dict[int, str] = {}

    def __call__(self, number: int, volume: Volume, record: Record | None = None) -> Result:
        """Strip a scan as it was stripped before; `steps` says meanwhile how far it is.

        Parameters
        ----------
        number
            Number of the scan in `steps`.
        volume
            The scan.
        record
            Record of how it was stripped; None for the default settings.

        Raises
        ------
        DeskullError
            If it cannot be stripped, or not as it was.
        """
        settings = _find_settings(volume, record)
        with self._lock:
            self.steps[number] = "loading the weights"
            self._stripper = stripper = self._stripper or self._load()
            _check_weights(volume, record, stripper.weights)
            note = self._note
            return stripper(volume, settings, observe=lambda step, *_: note(number, step))

    def _note(self, number: int, step: str) -> None:
        self.steps[number] = STEPS.get(step, self.steps[number])


def _find_settings(volume: Volume, record: Record | None) -> Settings:
    """Find the settings that a scan was stripped with; where none are known, the defaults."""
    if record is None:
        return Settings()
    if volume.frame is None and count_frames(volume.source) > 1:
        raise InputError(f"{volume.name}: its mask is that of a mean of its frames. {_AGAIN}")
    if record.settings is None:
        return Settings()
    return replace(record.settings, n4=record.settings.n4 or False)  # None leaves it to weights


def _check_weights(volume: Volume, record: Record | None, found: Weights) -> None:
    """Refuse other weights than those of the record: theirs would be another probability."""
    known = None if record is None else record.weights
    if known is not None and known.sha256 != found.digest:
        raise WeightsError(
            f"{volume.name}: stripped with the weights {known.name} ({known.sha256[:12]}…), which "
            f"are not those that this page uses, {found.name} ({found.digest[:12]}…). {_AGAIN}"
        )

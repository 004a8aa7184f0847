"""Stripping a scan for the local page: a mask, or the probability that was not kept."""

import threading
from collections.abc import Callable

from deskull.image.volume import Volume
from deskull.result import Result
from deskull.stripper import Stripper


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

    def __call__(self, number: int, volume: Volume) -> Result:
        """Strip a scan; `steps` says meanwhile by its number how far it is."""
        with self._lock:
            self.steps[number] = "loading the weights"
            self._stripper = stripper = self._stripper or self._load()
            return stripper(volume, observe=lambda name, *_: self.steps.update({number: name}))

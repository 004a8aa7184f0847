"""Padding: voxels that no scanner measured, and that hold one value far from all others.

Tools that turn, resample or undistort a scan fill what they have no data for with 0, -1000, the
least or largest number of the type, or a value of the user's. That is air, as NaN is; taken for
an intensity it would stretch the range of the scan until nothing is left of the head.

Air that was measured, or was set to 0 around a head or a brain, is no padding: it lies at the end
of the range that the rest has. Nor is fat that saturates, whose values lead up to the highest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLE = 64
"""Planes along each axis that are looked at, the first and the last among them."""

MIN_SHARE = 5e-4
"""Of the voxels looked at, with one and the same value."""

ROUND = 2**13
"""Values that agree to one part in so many are one: interpolation rounds."""

MAX_VALUES = 4
"""Paddings of one scan that are looked for."""

MIN_LEVELS = 50
"""Different values of an image that is no map of labels."""

SEAM_SHARE = 0.05
"""Of the rest: so much may lie between it and a padding, where interpolation mixed the two; twice
as much where it is below, for there the rest begins with air."""

STRAY = 0.01
"""Of a padding's voxels: no more between it and the rest, or beyond it, is nothing."""

TAIL = 0.005
"""Of the rest, at either end: outliers, not its range."""

FAR, FAR_STEPS = 0.1, 8
"""Least distance of a padding from all others, in ranges of the rest and in steps of its values:
what lies nearer does no harm, or is the next number of few."""

FAR_MIXED = 1.0
"""The same where the two were mixed: in ranges from where nearly all of the rest begins."""

FAR_ALONE = 10.0
"""The same without other evidence."""

BRIGHT = 4.0
"""Ranges above the range of the rest that vessels and the fat beside a coil stay within."""

AIR_SHARE = 0.15
"""Least share of air in a field around a head; a brain alone has less that is so dark."""

RIM_SHARE = 0.5
"""Least share of air on the faces of the box that holds what was measured; and of a bright
padding on the field's faces, against its share of the field."""

LABEL_SHARE = 0.6
"""Of neighbours that hold the same value in the middle of the field: more is a map of labels."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Padding:
    """What of a scan was not measured.

    Parameters
    ----------
    values
        Values of the padding, ascending.
    voxels
        Number of voxels that hold one of these values.

    Examples
    --------
    >>> Padding((-1000.0,), voxels=50).describe(size=200)
    '25 % of the field is filled with -1000; treated as air'
    """

    values: tuple[float, ...]
    voxels: int

    def describe(self, size: int) -> str:
        """Say in a phrase what was found in a field of so many voxels."""
        filled = " and ".join(f"{value:g}" for value in self.values)
        share = 100 * self.voxels / size
        return f"{share:.2g} % of the field is filled with {filled}; treated as air"


def take_out_padding(data: Array) -> Padding | None:
    """Turn the padding of a scan into NaN.

    Where interpolation mixed padding and head, what lies beyond the head's range goes as well.

    Parameters
    ----------
    data
        Intensities, (X, Y, Z) float32, changed in place; voxels that are NaN or infinite are
        ignored.

    Returns
    -------
    Padding or None
        What was found; None if nothing.
    """
    planes = (np.unique(np.linspace(0, n - 1, SAMPLE).round().astype(int)) for n in data.shape)
    sample = data[np.ix_(*planes)]
    levels = _count_levels(sample)
    low, high, values = -np.inf, np.inf, list[float]()
    while levels.values.size and len(values) < MAX_VALUES:
        looked = (levels.look_at(place) for place in levels.list_candidates())
        found = [one for one in looked if one and _is_padding(one, sample, high)]
        if not found:
            break
        outermost = max(found, key=lambda one: abs(one.value - one.bulk))
        values.append(outermost.value)
        low, high = max(low, outermost.low), min(high, outermost.high)
        levels = levels.between(low, high)
    if not values or _is_label_map(data, levels.find_end(2 * SEAM_SHARE, True), high):
        return None
    padded = np.isfinite(data) & ((data < low) | (data > high))
    data[padded] = np.nan
    return Padding(tuple(sorted(values)), int(np.count_nonzero(padded)))


class _Candidate(NamedTuple):
    """A value that may be padding, and what the rest is like."""

    value: float
    share: float
    """Of the sample."""
    bulk: float
    """Where nearly all of the rest begins, seen from the value."""
    span: float
    """Range of the rest."""
    nearest: float
    """Distance of the value from the rest, but for strays; 0 if its steps are as large."""
    low: float
    high: float
    """Limits of the rest."""

    @property
    def below(self) -> bool:
        """Whether it lies below the rest."""
        return self.value < self.bulk

    @property
    def dark(self) -> float:
        """Of the rest, what is below is air."""
        return self.bulk + FAR * self.span


class _Levels(NamedTuple):
    """The values of a sample, ascending, and how often each occurs."""

    values: NDArray[np.float64]
    counts: NDArray[np.intp]

    def between(self, low: float, high: float) -> "_Levels":
        """Those within limits."""
        kept = (self.values >= low) & (self.values <= high)
        return _Levels(self.values[kept], self.counts[kept])

    def find_end(self, share: float, low: bool) -> float:
        """Value at the low or high end, without a share of all."""
        return float(self.values[self._find_place(share, low)])

    def _find_place(self, share: float, low: bool) -> int:
        sums = np.cumsum(self.counts)
        place = np.searchsorted(sums, (share if low else 1 - share) * sums[-1])
        return min(int(place), self.values.size - 1)

    def list_candidates(self) -> Iterator[int]:
        """Places of values that may be padding: the most frequent, in all and at either end."""
        low, high = (self._find_place(SEAM_SHARE, end) for end in (True, False))
        stop = self.values.size
        parts = (0, stop), (0, 1), (0, low), (high, stop), (high + 1, stop), (stop - 1, stop)
        places = {int(a + self.counts[a:b].argmax()) for a, b in parts if a < b}
        fewest = max(MIN_SHARE * self.counts.sum(), 8)
        yield from (place for place in sorted(places) if self.counts[place] >= fewest)

    def look_at(self, place: int) -> _Candidate | None:
        """Compare a value with the rest; None where the rest lies about it, or has no range."""
        value, count = float(self.values[place]), int(self.counts[place])
        rest = _Levels(np.delete(self.values, place), np.delete(self.counts, place))
        if rest.values.size < MIN_LEVELS:
            return None
        under, total = int(rest.counts[:place].sum()), int(rest.counts.sum())
        below = under < total - under
        if min(under, total - under) > STRAY * count:
            return None
        bulk = rest.find_end(min(count / total, SEAM_SHARE * (1 + below)), below)
        other = rest.find_end(TAIL, not below)
        span = abs(other - bulk)
        first = rest._find_place(min(STRAY * count / total, TAIL), below)
        few = rest.values[first:][:FAR_STEPS] if below else rest.values[: first + 1][-FAR_STEPS:]
        nearest = abs(float(rest.values[first]) - value)
        if span == 0 or other == value:
            return None
        if nearest < few[-1] - few[0]:
            nearest = 0.0
        bottom, top = (bulk, other) if below else (other, bulk)
        low, high = bottom - FAR * span, top + BRIGHT * span
        if below:
            low = max(low, (value + bulk) / 2)
        else:
            high = min(high, (value + bulk) / 2)
        return _Candidate(value, count / (count + total), bulk, span, nearest, low, high)


def _count_levels(sample: Array) -> _Levels:
    """Count values, those together that differ by no more than rounding."""
    values, counts = np.unique(sample[np.isfinite(sample)], return_counts=True)
    mantissa, exponent = np.frexp(values)
    rounded = np.round(mantissa * ROUND) + 4 * ROUND * exponent * np.sign(mantissa)
    first = np.flatnonzero(np.diff(rounded, prepend=-np.inf))
    middle = (first + np.append(first[1:], values.size) - 1) // 2
    return _Levels(values[middle].astype(np.float64), np.add.reduceat(counts, first))


def _is_padding(one: _Candidate, sample: Array, high: float) -> bool:
    """Decide about a value: by its distance from the rest, and by where it lies."""
    distance = abs(one.value - one.bulk)
    if one.nearest < FAR * one.span and distance < FAR_MIXED * one.span:
        return False
    alone = distance >= FAR_ALONE * one.span or one.nearest >= FAR_MIXED * one.span
    if one.below:  # a brain that was stripped before lies on 0
        return (alone and one.value != 0) or _has_air(one, sample, high)
    return alone or _share_of_faces(sample > one.high) >= RIM_SHARE * one.share


def _has_air(one: _Candidate, sample: Array, high: float) -> bool:
    """Whether there is air around the head beside a dark padding."""
    measured = (sample > one.low) & (sample <= high)
    ends = [np.flatnonzero(measured.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not ends[0].size:
        return False
    x, y, z = (slice(int(end[0]), int(end[-1]) + 1) for end in ends)
    measured = measured[x, y, z]
    air = measured & (sample[x, y, z] <= one.dark)
    if np.count_nonzero(air) < AIR_SHARE * np.count_nonzero(measured):
        return False
    return _share_of_faces(air) >= RIM_SHARE * _share_of_faces(measured)


def _share_of_faces(mask: NDArray[np.bool_]) -> float:
    """Share of the voxels on the six faces that are in a mask."""
    faces = [mask.take(end, axis=axis) for axis in range(3) for end in (0, -1)]
    return sum(int(np.count_nonzero(face)) for face in faces) / sum(face.size for face in faces)


def _is_label_map(data: Array, low: float, high: float) -> bool:
    """Whether neighbours hold the same value in most places that are no air."""
    same = pairs = 0
    for axis in range(3):
        plane = data.take(data.shape[axis] // 2, axis=axis)
        measured = (plane > low) & (plane <= high)
        both = measured[1:] & measured[:-1]
        pairs += int(np.count_nonzero(both))
        same += int(np.count_nonzero(both & (plane[1:] == plane[:-1])))
    return same > LABEL_SHARE * pairs

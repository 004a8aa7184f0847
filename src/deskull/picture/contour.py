"""The line along which a 2D field crosses a level: marching squares.

Where two opposite corners of a square are inside and two are not, the corners inside are taken
as apart. Lines are closed: beyond its edge the field is 0.
"""

import numpy as np
from numpy.typing import NDArray

_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
_LINES = {  # corners inside (1 upper left, then clockwise 2, 4, 8) -> edges that a line joins
    1: ((_LEFT, _TOP),),
    2: ((_TOP, _RIGHT),),
    3: ((_LEFT, _RIGHT),),
    4: ((_RIGHT, _BOTTOM),),
    5: ((_LEFT, _TOP), (_RIGHT, _BOTTOM)),
    6: ((_TOP, _BOTTOM),),
    7: ((_LEFT, _BOTTOM),),
    8: ((_LEFT, _BOTTOM),),
    9: ((_TOP, _BOTTOM),),
    10: ((_TOP, _RIGHT), (_LEFT, _BOTTOM)),
    11: ((_RIGHT, _BOTTOM),),
    12: ((_LEFT, _RIGHT),),
    13: ((_TOP, _RIGHT),),
    14: ((_LEFT, _TOP),),
}


def find_contours(field: NDArray[np.float32], level: float = 0.5) -> list[NDArray[np.float64]]:
    """Find the closed lines around what is at or above a level.

    Parameters
    ----------
    field
        (rows, columns), its values at the middles of pixels.
    level
        Above 0.

    Returns
    -------
    list
        Of each line its points (N, 2): x to the right and y down in pixels, 0 at the outer edge
        of the first pixel. The last point is joined to the first.
    """
    padded = np.pad(np.asarray(field, np.float64), 1)
    first, second = _find_segments(padded >= level)
    neighbours: dict[int, list[int]] = {}
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    lines = []
    while neighbours:
        edge, line = next(iter(neighbours)), []
        while edge in neighbours:
            line.append(edge)
            one, other = neighbours.pop(edge)
            edge = one if one in neighbours else other
        lines.append(_place(np.array(line), padded, level))
    return lines


def _find_segments(inside: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of edges joined by a line; edges are numbered, two to each corner of the grid."""
    case = inside[:-1, :-1] + 2 * inside[:-1, 1:] + 4 * inside[1:, 1:] + 8 * inside[1:, :-1]
    width = inside.shape[1]
    shifts = np.array([0, 3, 2 * width, 1])  # of the edges of a square from its first corner's
    pairs = []
    for code, lines in _LINES.items():
        rows, columns = np.nonzero(case == code)
        corner = 2 * (rows * width + columns)
        pairs += [np.stack([corner + shifts[a], corner + shifts[b]]) for a, b in lines]
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def _place(
    edges: NDArray[np.int64], padded: NDArray[np.float64], level: float
) -> NDArray[np.float64]:
    """Where the level is crossed on each edge, (N, 2)."""
    corners, down = edges // 2, edges % 2
    rows, columns = np.divmod(corners, padded.shape[1])
    start, end = padded[rows, columns], padded[rows + down, columns + 1 - down]
    share = (level - start) / (end - start)
    return np.stack([columns + share * (1 - down), rows + share * down], axis=1) - 0.5

"""One hash for a set of weights; apart from `weights.py`, so that --version answers at once."""

import hashlib
from collections.abc import Mapping


def compute_digest(files: Mapping[str, str]) -> str:
    """Compute the SHA-256 that stands for a set of weights.

    Parameters
    ----------
    files
        The card's files: name to SHA-256, as hexadecimal digits.

    Returns
    -------
    str
        SHA-256 over the sorted hashes of all files, as hexadecimal digits.

    Examples
    --------
    >>> compute_digest({"segment.onnx": "ab", "locate.onnx": "cd"})[:12]
    '88d4266fd4e6'
    """
    return hashlib.sha256("".join(sorted(files.values())).encode()).hexdigest()

"""Files that learning writes, with errors that say which could not be written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from deskull.errors import OutputError


@contextmanager
def explain_writing(path: Path) -> Iterator[None]:
    """Name the path in the error of whatever cannot be written within.

    Raises
    ------
    OutputError
        In place of the system's errors.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{path}: cannot be written ({reason}). Check its name, and the space and "
            "permissions of its folder."
        ) from error

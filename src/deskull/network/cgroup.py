"""How many cores the control groups of Linux grant: what a container or a batch system set."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

_MOUNT = "sys/fs/cgroup"


def find_cpu_limit(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that this process may use; None if nothing limits it.

    Of the groups above each other the narrowest counts, of both versions of control groups.

    Parameters
    ----------
    root
        Root of the file system.
    """
    return min((limit for limit in _find_limits(root) if limit > 0), default=None)


def _find_limits(root: Path) -> Iterator[float]:
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            for folder in _list_groups(root / _MOUNT, group):
                yield from _read_v2(folder)
        elif "cpu" in controllers.split(","):
            for folder in _list_groups(root / _MOUNT / controllers, group):
                yield from _read_v1(folder)
            for folder in _list_groups(root / _MOUNT / "cpu", group):
                yield from _read_v1(folder)


def _list_groups(mount: Path, group: str) -> Iterator[Path]:
    """Folders of a group and those above it; in a container only the uppermost may be there."""
    path = PurePosixPath(group.lstrip("/"))
    for part in (path, *path.parents):
        yield mount / part


def _read_v2(folder: Path) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text("utf-8").split()
        yield int(quota) / int(period)  # "max" is no number: no limit


def _read_v1(folder: Path) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota = int((folder / "cpu.cfs_quota_us").read_text("utf-8"))
        yield quota / int((folder / "cpu.cfs_period_us").read_text("utf-8"))  # -1: no limit

"""One file that takes the arrays of the fixtures, and an index that says where each is."""

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


class Writer:
    """Puts arrays into one file, the first axis running fastest, and notes where each is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index: dict[str, Any] = {}
        self._file = (folder / "arrays.bin").open("wb")

    def array(self, values: NDArray[Any]) -> dict[str, Any]:
        kind = "uint8" if values.dtype == bool else "float32"
        place = self._file.tell()
        self._file.write(values.astype(kind).tobytes(order="F"))
        self._file.write(b"\0" * (-self._file.tell() % 4))
        return {"array": place, "kind": kind, "shape": values.shape}

    def close(self) -> None:
        self._file.close()
        (self.folder / "index.json").write_text(json.dumps(self.index, default=_plain))


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)

"""What a DICOM file says of itself: whose slice of which image it is, and whether it is whole.

Only the elements before the voxels are read, and of those the few named in `_FACTS`; sequences
are stepped over, but for where the frames of an enhanced file lie. Files with and without
preamble, of implicit and explicit value types and of both byte orders are understood. Which
files make one image is `dicom_series.py`.
"""

import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from deskull.image.lookup import Pointer, find_pointer

_FACTS = {
    0x00020002: "sop_class",
    0x00020010: "transfer_syntax",
    0x00080008: "image_type",
    0x00080016: "sop_class",
    0x00080018: "sop_instance",
    0x00080020: "study_date",
    0x0008103E: "description",
    0x00100020: "participant",
    0x00180081: "echo_time",
    0x00180086: "echo",
    0x0020000D: "study",
    0x0020000E: "series",
    0x00200011: "number",
    0x00200013: "instance",
    0x00200032: "position",
    0x00200037: "orientation",
    0x00280002: "samples",
    0x00280008: "frames",
    0x00280010: "rows",
    0x00280011: "columns",
    0x00280030: "spacing",
    0x00280100: "bits",
    0x0043102F: "ge_part",
}
_BINARY = ("samples", "rows", "columns", "bits", "ge_part")  # two bytes each
_VOXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_UNKNOWN_LENGTH = 0xFFFFFFFF
_OF_FRAMES = (0x52009229, 0x52009230)  # what all frames of a file share, and what each has
_PLACE = (0x00209113, 0x00200032)  # a sequence, and the element that it begins with
_TURN = (0x00209116, 0x00200037)
_SPACING = b"\x28\0\x30\0", b"\0\x28\0\x30"  # in either byte order
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_VALUE = 64 * 1024
_MAX_DEPTH = 20
_MAX_ELEMENTS = 500_000
_PREAMBLE = b"\0" * 128 + b"DICM"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_UNCOMPRESSED = {
    "<i": "1.2.840.10008.1.2",
    "<e": "1.2.840.10008.1.2.1",
    ">e": "1.2.840.10008.1.2.2",
}
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SCANS = tuple(_STORAGE + end for end in ("2", "2.1", "4", "4.1", "4.3", "20", "128", "130"))


class _CutShort(Exception):
    """The file ends, or stops making sense, within its elements."""


@dataclass(frozen=True)
class DicomFile:
    """One file among those of a DICOM folder.

    Parameters
    ----------
    path
        Path of the file.
    facts
        Values by the names in `_FACTS`; empty if it is no DICOM. Of a file of frames that say
        where they lie, ``places`` are the positions, with ``|`` between them; those of several
        planes have the orientation ``several``.
    lead
        Bytes that a converter needs before the file's first byte: preamble and transfer syntax.
    damage
        Why its voxels cannot be read; empty if they can.
    pointer
        If that is because its content lies elsewhere.
    """

    path: Path
    facts: Mapping[str, str] = field(default_factory=dict)
    lead: bytes = b""
    damage: str = ""
    pointer: Pointer | None = None


def look_at(path: Path) -> DicomFile | None:
    """Read what a file says of itself.

    Returns
    -------
    DicomFile or None
        None of DICOM that is no image, such as a DICOMDIR or a report. Of what is no DICOM, or
        cannot be read at all, a file without facts, whose `damage` says why.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _read(file, size, path) if size else DicomFile(path, damage="empty")
    except FileNotFoundError:
        pointer = find_pointer(path)
        return DicomFile(path, damage=pointer.what if pointer else "gone", pointer=pointer)
    except OSError as error:
        return DicomFile(path, damage=f"not readable: {error.strerror}")


def is_dicom(head: bytes) -> bool:
    """Whether a file's first bytes are DICOM, with preamble or without."""
    if head[128:132] == b"DICM":
        return True
    order = _guess_order(head)
    if order is None:
        return False
    tag, length = _Elements.parse(head[:12], order)
    return tag >> 16 in (2, 8) and tag & 0xFFFF < 0x2000 and length < _MAX_VALUE


def _guess_order(head: bytes) -> str | None:
    """Guess byte order and whether value types are there, from a first element of group 2 or 8."""
    if len(head) < 12 or head[:2] not in (b"\2\0", b"\10\0", b"\0\10"):
        return None
    order = ">" if head[0] == 0 else "<"
    return order + ("e" if _is_type(head[4:6]) else "i")


def _is_type(word: bytes) -> bool:
    """Whether two bytes can be the type of a value."""
    return word.isalpha() and word.isupper()


def _read(file: BinaryIO, size: int, path: Path) -> DicomFile | None:
    head = file.read(512)
    if not is_dicom(head):
        pointer = find_pointer(path, head)
        return DicomFile(path, damage=pointer.what if pointer else "no DICOM", pointer=pointer)
    has_preamble = head[128:132] == b"DICM"
    file.seek(132 if has_preamble else 0)
    elements = _Elements(file, size)
    facts: dict[str, str] = {}
    try:
        damage = elements.read_into(facts)
    except _CutShort:
        damage = "cut short within its header"
    if facts.get("transfer_syntax") == _DEFLATED:
        damage = "deflated, which the converter cannot read; save it uncompressed"
    elif not _is_image(facts) and "sop_class" in facts:
        return None
    lead = b"" if has_preamble else _PREAMBLE
    if lead and "transfer_syntax" not in facts:
        lead += _make_meta(_UNCOMPRESSED[elements.order])
    return DicomFile(path, facts, lead, damage)


def _is_image(facts: Mapping[str, str]) -> bool:
    return ("rows" in facts and "columns" in facts) or facts.get("sop_class") in _SCANS


def _make_meta(syntax: str) -> bytes:
    """File meta information that names the transfer syntax."""
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    return struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(element)) + element


class _Elements:
    """The elements of a file, one after the other.

    `order` is ``"<e"``, ``">e"`` or ``"<i"``: byte order, and whether value types are explicit.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.order = "<e"
        self.count = 0

    def read_into(self, facts: dict[str, str]) -> str:
        """Read facts up to the voxels; give what is wrong with those, or nothing."""
        in_meta = True
        while True:
            start = self.file.tell()
            head = self.file.read(12)
            if not head:
                return "without voxels"
            if in_meta and head[:2] != b"\2\0":
                in_meta = False
                self.order = _guess_order(head) or self._find_order(facts)
            self.file.seek(start)
            tag, length = self._next()
            if tag in _VOXELS:
                return self._check_voxels(length, facts)
            if tag in _OF_FRAMES:
                self._read_frames(length, facts)
                continue
            name = _FACTS.get(tag)
            if name and length <= _MAX_VALUE:
                facts.setdefault(name, self._to_text(name, self._take(length)))
            else:
                self._skip(length)
            if facts.get("transfer_syntax") == _DEFLATED and not in_meta:
                return ""

    def _read_frames(self, length: int, facts: dict[str, str]) -> None:
        """Read where the frames of an enhanced file lie, and how they are turned if all alike."""
        start = self.file.tell()
        self._skip(length)
        size = self.file.tell() - start
        self.file.seek(start)
        value = self._take(size)
        if any(tag in value for tag in _SPACING):
            facts.setdefault("spacing", "of frames")
        turns = {facts.get("orientation", ""), *self._find_all(value, _TURN)} - {""}
        if turns:
            facts["orientation"] = turns.pop() if len(turns) == 1 else "several"
        places = self._find_all(value, _PLACE)
        if len(places) == to_int(facts, "frames", 1):
            facts["places"] = "|".join(places)

    def _find_all(self, value: bytes, tags: tuple[int, int]) -> list[str]:
        """Find the first element of each sequence of a kind, wherever it is nested."""
        order, explicit = self.order[0], self.order[1] == "e"
        sequence, item, element = (
            re.escape(struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF))
            for tag in (tags[0], _ITEM, tags[1])
        )
        kind, length = (rb"SQ\0\0", rb"DS(..)") if explicit else (b"", rb"(..)\0\0")
        pattern = sequence + kind + b".{4}" + item + b".{4}" + element + length
        found = re.finditer(pattern, value, re.DOTALL)
        sizes = ((hit.end(), struct.unpack(f"{order}H", hit[1])[0]) for hit in found)
        return [self._to_text("", value[at : at + size]) for at, size in sizes]

    def _find_order(self, facts: Mapping[str, str]) -> str:
        syntax = facts.get("transfer_syntax", "")
        return next((o for o, name in _UNCOMPRESSED.items() if name == syntax), "<e")

    @staticmethod
    def parse(head: bytes, order: str) -> tuple[int, int]:
        """Tag and length of an element from its first twelve bytes."""
        byte_order = order[0]
        group, element = struct.unpack(f"{byte_order}HH", head[:4])
        tag = group << 16 | element
        if order[1] == "i" or group == 0xFFFE or not _is_type(head[4:6]):
            return tag, int(struct.unpack(f"{byte_order}I", head[4:8])[0])
        if head[4:6] in _LONG:
            return tag, int(struct.unpack(f"{byte_order}I", head[8:12])[0])
        return tag, int(struct.unpack(f"{byte_order}H", head[6:8])[0])

    def _next(self, order: str = "") -> tuple[int, int]:
        """Tag and length of the next element; the file then stands at its value."""
        order = order or self.order
        head = self.file.read(12)
        self.count += 1
        if len(head) < 8 or not any(head[:4]) or self.count > _MAX_ELEMENTS:
            raise _CutShort
        is_long = order[1] == "e" and head[4:6] in _LONG and head[:2] != _item_group(order)
        if is_long and len(head) < 12:
            raise _CutShort
        self.file.seek((12 if is_long else 8) - len(head), os.SEEK_CUR)
        return self.parse(head, order)

    def _take(self, length: int) -> bytes:
        value = self.file.read(length)
        if len(value) < length:
            raise _CutShort
        return value

    def _skip(self, length: int, depth: int = 0) -> None:
        """Step over a value; one of unknown length is a sequence of items."""
        if length != _UNKNOWN_LENGTH:
            if self.file.tell() + length > self.size:
                raise _CutShort
            self.file.seek(length, os.SEEK_CUR)
            return
        if depth > _MAX_DEPTH:
            raise _CutShort
        for item in self._items():
            if item != _UNKNOWN_LENGTH:
                self._skip(item)
                continue
            tag, inner = self._next()
            while tag != _ITEM_END:
                self._skip(inner, depth + 1)
                tag, inner = self._next()

    def _items(self) -> Iterator[int]:
        """Lengths of the items of a sequence, up to its end."""
        while True:
            tag, length = self._next()
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise _CutShort
            yield length

    def _to_text(self, name: str, value: bytes) -> str:
        if name in _BINARY:
            if len(value) < 2:
                return ""
            return str(int(struct.unpack(f"{self.order[0]}H", value[:2])[0]))
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("latin-1")
        return " ".join(text.replace("\0", " ").split())

    def _check_voxels(self, length: int, facts: Mapping[str, str]) -> str:
        """Say what is missing of the voxels, without reading them."""
        if length == _UNKNOWN_LENGTH:
            try:
                for item in self._items():
                    self._skip(item)
            except _CutShort:
                return "truncated within its compressed voxels"
            return ""
        held, promised = self.size - self.file.tell(), max(length, _count_bytes(facts))
        if min(held, length) < promised:
            return f"truncated: {min(held, length)} of {promised} bytes of voxels"
        return ""


def _item_group(order: str) -> bytes:
    return b"\xfe\xff" if order[0] == "<" else b"\xff\xfe"


def _count_bytes(facts: Mapping[str, str]) -> int:
    """Bytes that uncompressed voxels of one number each take; 0 if the header does not say."""
    if to_int(facts, "samples", 1) != 1:
        return 0
    bits = to_int(facts, "rows") * to_int(facts, "columns") * to_int(facts, "bits")
    return bits * to_int(facts, "frames", 1) // 8


def to_int(facts: Mapping[str, str], name: str, default: int = 0) -> int:
    """Read a whole number among facts; `default` where there is none."""
    try:
        return int(float(facts.get(name, "")))
    except (ValueError, OverflowError):
        return default

"""DICOM files written by hand: slices of an MR series, and what can be wrong with them."""

import struct
import zipfile

import numpy as np

SHAPE = (8, 10, 6)
HEAD = np.arange(480).reshape(SHAPE).astype("i2")
PERSON = "Doe^Jane"
UID = "1.2.826.0.1.3680043.10.43"


SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big": "1.2.840.10008.1.2.2",
}
LONG = (b"OW", b"OB", b"SQ", b"UN")


def encode(group, element, kind, value, syntax="explicit", open_end=False):
    """One element; `open_end` writes a sequence or packed voxels of unknown length."""
    data = value if isinstance(value, bytes) else str(value).encode()
    data += (b"\0" if kind in (b"UI", *LONG) else b" ") * (len(data) % 2)
    order = ">" if syntax == "big" else "<"
    if order == ">" and kind in (b"US", b"SS", b"OW"):
        data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
    tag, length = struct.pack(f"{order}HH", group, element), len(data)
    if open_end:
        length, data = 0xFFFFFFFF, data + struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0)
    if syntax == "implicit":
        return tag + struct.pack("<I", length) + data
    form = f"{order}HI" if kind in LONG else f"{order}H"
    return tag + kind + struct.pack(form, *((0, length) if kind in LONG else (length,))) + data


def make_slice(
    number, series=3, description="t1", head=HEAD, add=(), syntax="explicit", **changes
):
    """Slice `number` of an MR series, 2 x 1.5 mm in plane, 4 mm apart.

    `changes` are values by keyword, such as ``uid="1.2.3"``; `add` holds more elements; `syntax`
    is one of `SYNTAXES`, or a transfer syntax that is only named.
    """
    fields = {
        "uid": f"{UID}.{series}",
        "study": UID,
        "day": "20240102",
        "kind": "ORIGINAL\\PRIMARY\\M",
        "instance": number + 1,
        "place": f"-8\\-7\\{number * 4 - 12}",
        "turn": "1\\0\\0\\0\\1\\0",
        "patient": PERSON,
    } | changes
    u2 = struct.Struct("<H").pack
    meta = encode(2, 0x10, b"UI", SYNTAXES.get(syntax, syntax))
    elements = [
        (0x08, 0x08, b"CS", fields["kind"]),
        (0x08, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.4"),
        (0x08, 0x18, b"UI", f"{fields['uid']}.{fields['instance']}"),
        (0x08, 0x20, b"DA", fields["day"]),
        (0x08, 0x60, b"CS", "MR"),
        (0x08, 0x70, b"LO", "SIEMENS"),
        (0x08, 0x103E, b"LO", description),
        (0x10, 0x10, b"PN", fields["patient"]),
        (0x10, 0x20, b"LO", fields["patient"]),
        (0x10, 0x4000, b"LT", PERSON),
        (0x18, 0x50, b"DS", 4),
        (0x18, 0x88, b"DS", 4),
        (0x20, 0x0D, b"UI", fields["study"]),
        (0x20, 0x0E, b"UI", fields["uid"]),
        (0x20, 0x11, b"IS", series),
        (0x20, 0x13, b"IS", fields["instance"]),
        (0x20, 0x32, b"DS", fields["place"]),
        (0x20, 0x37, b"DS", fields["turn"]),
        (0x20, 0x4000, b"LT", PERSON),
        (0x28, 0x02, b"US", u2(1)),
        (0x28, 0x04, b"CS", "MONOCHROME2"),
        (0x28, 0x10, b"US", u2(SHAPE[1])),
        (0x28, 0x11, b"US", u2(SHAPE[0])),
        (0x28, 0x30, b"DS", "1.5\\2"),
        (0x28, 0x100, b"US", u2(16)),
        (0x28, 0x101, b"US", u2(16)),
        (0x28, 0x102, b"US", u2(15)),
        (0x28, 0x103, b"US", u2(1)),
        (0x7FE0, 0x10, b"OW", head[:, ::-1, number].tobytes(order="F")),
    ]
    elements = sorted([*elements, *add], key=lambda element: element[:2])
    body = b"".join(encode(*element, syntax) for element in elements)
    return b"\0" * 128 + b"DICM" + encode(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + body


def write_series(folder, name="", **options):
    folder.mkdir(exist_ok=True, parents=True)
    name = name or str(options.get("series", 3))
    for number in range(SHAPE[2]):
        (folder / f"{name}_{number}.dcm").write_bytes(make_slice(number, **options))
    return folder


AFFINE = np.array([[-2.0, 0, 0, 8], [0, 1.5, 0, 7 - 1.5 * 9], [0, 0, 4, -12], [0, 0, 0, 1]])


def zip_folder(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("empty/", "")
        for file in folder.iterdir():
            archive.write(file, f"../../escape/{file.name}")
    return path


PIXELS = struct.pack("<HH", 0x7FE0, 0x10) + b"OW"


def write_edited(edit):
    """Write a series each slice of which is edited: given its number and bytes, or dropped."""

    def write(path):
        write_series(path)
        for number in range(SHAPE[2]):
            file = path / f"3_{number}.dcm"
            content = edit(number, file.read_bytes())
            file.write_bytes(content) if content else file.unlink()

    return write


def make_sequence(group, element, *items, syntax="explicit"):
    """Sequence of items, each a list of elements."""
    bodies = [b"".join(item) for item in items]
    heads = [struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) for body in bodies]
    value = b"".join(head + body for head, body in zip(heads, bodies, strict=True))
    return encode(group, element, b"SQ", value, syntax)


def write_enhanced(folder, places=None, turns=None, syntax="explicit", spacing=True):
    """Write the slices of `HEAD` as the frames of one enhanced file.

    `places` are heights in mm, 4 mm apart if not given; `turns` orientations, one if not given.
    """
    places = [number * 4 - 12 for number in range(SHAPE[2])] if places is None else places

    def sequence(group, element, *items):
        return make_sequence(group, element, *items, syntax=syntax)

    def one(*element):
        return [encode(*element, syntax)]

    turn = one(0x20, 0x37, b"DS", "1\\0\\0\\0\\1\\0")
    measures = one(0x18, 0x50, b"DS", 4) + (one(0x28, 0x30, b"DS", "1.5\\2") if spacing else [])
    shared = [sequence(0x28, 0x9110, measures)]
    shared = shared if turns else [sequence(0x20, 0x9116, turn), *shared]
    frames = []
    for number, height in enumerate(places):
        index = one(0x20, 0x9057, b"UL", struct.pack("<I", number + 1))
        index += one(0x20, 0x9157, b"UL", struct.pack("<II", 1, number + 1))
        place = one(0x20, 0x32, b"DS", f"-8\\-7\\{height}")
        frames.append([sequence(0x20, 0x9111, index), sequence(0x20, 0x9113, place)])
        if turns:
            frames[-1].append(sequence(0x20, 0x9116, one(0x20, 0x37, b"DS", turns[number])))
    kind = b"1.2.840.10008.5.1.4.1.1.4"
    file = make_slice(0, syntax=syntax)
    for element in (
        (0x20, 0x32, b"DS", "-8\\-7\\-12"),
        (0x20, 0x37, b"DS", "1\\0\\0\\0\\1\\0"),
        (0x28, 0x30, b"DS", "1.5\\2"),
    ):
        file = file.replace(encode(*element, syntax), b"")
    file = file.replace(*(encode(8, 0x16, b"UI", k, syntax) for k in (kind, kind + b".1")))
    rows = encode(0x28, 0x10, b"US", struct.pack("<H", SHAPE[1]), syntax)
    file = file.replace(rows, encode(0x28, 0x08, b"IS", len(places), syntax) + rows)
    file = file[: file.index(struct.pack("<HH", 0x7FE0, 0x10))]
    file += sequence(0x5200, 0x9229, shared) + sequence(0x5200, 0x9230, *frames)
    file += encode(0x7FE0, 0x10, b"OW", HEAD[:, ::-1].tobytes(order="F"), syntax)
    folder.mkdir()
    (folder / "all.dcm").write_bytes(file)
    return folder

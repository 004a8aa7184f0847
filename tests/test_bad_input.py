"""What cannot be stripped or written: exit 1 (2 for a wrong option), one line, nothing changed."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, place, run
from conftest import full_disk
from deskull.image.writing import save_image
from systems import NOT_ROOT

__all__ = ["ball", "place"]

DATA = np.asarray(HEAD.dataobj)
RGB = np.zeros(DATA.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])


def image(data, affine=HEAD.affine):
    return nib.Nifti1Image(data, affine)


def write_header(**fields):
    """Write a scan whose header says what it should not."""

    def write(path):
        nifti = image(DATA)
        save_image(nifti, path)
        content = bytearray(path.read_bytes())
        header = nib.Nifti1Header(bytes(content[:348]), check=False)
        for name, value in fields.items():
            header[name] = value
        path.write_bytes(header.binaryblock + bytes(content[348:]))

    return write


def write_image(data, affine=HEAD.affine):
    return lambda path: image(data, affine).to_filename(path)


def write_cut(path):
    save_image(HEAD, path)
    path.write_bytes(path.read_bytes()[:-5000])


def write_half(path):
    nib.Nifti1Pair(DATA, HEAD.affine).to_filename(path)
    path.with_suffix(".img").unlink()


def write_folder_of_images(path):
    path.mkdir()
    save_image(HEAD, path / "sub-01.nii.gz")
    save_image(HEAD, path / "sub-02.nii.gz")


NO_SIZE = {"sform_code": 0, "qform_code": 0}
INPUTS = [
    ("missing.nii.gz", None, "missing.nii.gz: no such file."),
    ("no/folder/scan.nii.gz", None, "no such file. There is no folder no/folder."),
    ("-", None, "standard input: has no name to derive output names from; expected -o"),
    ("scan.nii", None, "scan.nii: no such file. Did you mean scan.nii.gz?"),
    ("a" * 300, None, "File name too long"),
    ("empty.nii.gz", lambda path: path.touch(), "empty.nii.gz: empty file (0 bytes)"),
    ("cut.nii.gz", write_cut, "cut.nii.gz: truncated"),
    ("text.nii.gz", lambda path: path.write_text("hello"), "starts with b'hello'"),
    ("zip.nii.gz", lambda p: p.write_bytes(gzip.compress(b"hello")), "starts with b'hello'"),
    ("text.nii", lambda path: path.write_text("hello " * 99), "not an image"),
    ("photo.jpg", lambda path: path.write_bytes(b"\xff\xd8\xff" * 99), "not an image"),
    ("half.hdr", write_half, "half.hdr: half.img is missing beside it"),
    ("flat.nii", write_image(DATA[..., 20]), "(40, 48) is not a 3D image"),
    ("slice.nii", write_image(DATA[..., 20:21]), "slice.nii: a single slice (40, 48, 1)"),
    ("five.nii", write_image(np.stack([np.stack([DATA] * 2, -1)] * 2, -1)), "5 dimensions"),
    ("complex.nii", write_image(DATA.astype("c8")), "complex voxels"),
    ("colour.nii", write_image(RGB), "colour voxels"),
    ("zero.nii.gz", write_image(DATA * 0), "every voxel is 0; expected a head."),
    ("seven.nii.gz", write_image(DATA * 0 + 7), "every voxel is 7; expected a head."),
    ("mask.nii.gz", write_image((DATA > 50).astype("u1")), "a mask, its values are 0 and 1; exp"),
    ("nan.nii.gz", write_image(DATA * np.nan), "every voxel is NaN or infinite"),
    ("none.nii", write_header(pixdim=[1, 0, 4, 4, 1, 1, 1, 1], **NO_SIZE), "voxel size [0.0, "),
    ("thin.nii", write_header(srow_x=[0, 0, 0, 0]), "thin.nii: singular affine"),
    ("place.nii", write_header(srow_x=[np.nan, 0, 0, 0]), "expected a finite 4 x 4 matrix"),
    ("bold.nii.gz", write_image(np.stack([DATA] * 2, -1)), "--frame N (0 to 1)"),
    ("folder", lambda path: path.mkdir(), "folder: a folder with no DICOM found in it"),
    ("many", write_folder_of_images, "For many scans run: deskull batch many"),
    (
        "annex.nii.gz",
        lambda path: path.symlink_to(".git/annex/x"),
        "Get it with `datalad get annex.nii.gz`",
    ),
]
OPTIONS = [
    ("-o scan.nii.gz", "it is an input, and an input is never replaced"),
    ("-o link.nii.gz", "it is an input"),
    ("-o hard.nii.gz", "it is an input"),
    ("-o ../HERE/scan.nii.gz", "it is an input"),
    ("-m scan.nii.gz", "it is an input"),
    ("-i pair.hdr -m pair.img", "it is an input"),
    ("out.nii -m out.nii", "out.nii: requested as brain and as mask. Choose two names."),
    ("out.nii -m ./out.nii", "requested as brain and as mask"),
    ("out.nii -d folder/../out.nii", "requested as brain and as distance"),
    ("out.hdr -m out.img", "requested as brain and as mask"),
    ("out", "out: cannot write this kind of file; expected a name that ends in .nii.gz, .nii"),
    ("out.nrrd", "cannot write this kind of file"),
    ("-p out.jpg", "cannot write this kind of file"),
    ("--picture look.jpg", "look.jpg: cannot write this kind of file; expected a name that ends"),
    ("--record what.txt", "what.txt: cannot write this kind of file; expected a name that ends"),
    ("scan.nii.gz/out.nii", "scan.nii.gz is a file, and no folder"),
    ("-m scan.nii.gz/deep/", "scan.nii.gz is a file, and no folder"),
    ("-m " + "a" * 300 + ".nii", "cannot be written (File name too long)"),
    ("--steps scan.nii.gz", "scan.nii.gz: cannot be made (File exists)"),
    ("--steps scan.nii.gz/deep", "scan.nii.gz/deep: cannot be made (Not a directory)"),
    ("--no-csf --threshold 0.999 -b -50", "a border of -50 mm leaves no brain"),
    ("--frame 1", "no frame 1; it is a 3D image. Omit --frame."),
    ("--frame 5 -i bold.nii", "no frame 5; expected 0 to 1"),
    ("--series 3", "no DICOM, so it has no series 3. Omit --series."),
    ("--device cuda:99", "device 'cuda:99' is not available"),
    ("--weights nope", "nope: no such weights; expected one of default"),
    ("--weights folder", "folder: no such weights"),
    ("-i whole.nii --fill nan", "fill nan: the image stores int16"),
]
RANGES = [
    ("--threshold 0", "threshold 0.0; expected a probability from 0.001 to 0.999"),
    ("--threshold nan", "threshold nan"),
    ("--threshold inf", "threshold inf"),
    ("-b nan", "border nan; expected millimetres from -50 to 50"),
    ("-b inf", "border inf"),
    ("-b 51", "border 51"),
    ("-t 0", "threads 0; expected 1 to 1024"),
    ("-t -1", "threads -1"),
    ("-t 9999999999999999999999", "threads 9999999999999999999999"),
    ("--device tpu", "device 'tpu'; expected auto, cpu, cuda, cuda:N or mps."),
    ("-b 51 -i missing.nii.gz", "border 51"),
]
COMMANDS = [
    ("weights show nope", "nope: no such weights"),
    ("weights verify nope", "nope: no such weights"),
    ("demo -o scan.nii.gz/demo", "scan.nii.gz is a file, and no folder"),
    ("demo -o scan.nii.gz", "scan.nii.gz is a file, and no folder"),
    ("/", "/: no folder of one scan"),
]


def check_refusal(capsys, folder, arguments, message, code=1):
    """Run a command that must fail as promised."""
    before = list_files(folder)
    assert run(*arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("deskull: error: ")
    assert "internal error of deskull" not in err
    assert message in err
    assert list_files(folder) == before


def name_of(value):
    return value.replace("/", "|")[:40] if isinstance(value, str) else ""


@pytest.mark.parametrize(("name", "write", "message"), INPUTS, ids=name_of)
def test_refuses_input(place, capsys, name, write, message):
    if write is not None:
        write(place / name)
    check_refusal(capsys, place, [name], message)


@pytest.fixture
def crowd(place):
    """More files to trip over."""
    (place / "link.nii.gz").symlink_to("scan.nii.gz")
    (place / "hard.nii.gz").hardlink_to(place / "scan.nii.gz")
    (place / "sub-01_T1w.nii.gz").write_bytes((place / "scan.nii.gz").read_bytes())
    (place / "folder").mkdir()
    nib.Nifti1Pair(DATA, HEAD.affine).to_filename(place / "pair.hdr")
    save_image(image(np.stack([DATA] * 2, -1)), place / "bold.nii")
    save_image(image(DATA.astype(np.int16)), place / "whole.nii")
    return place


@pytest.mark.parametrize(("arguments", "message"), OPTIONS, ids=name_of)
def test_refuses_options(crowd, capsys, arguments, message):
    arguments = arguments.replace("HERE", crowd.name).split()
    check_refusal(
        capsys, crowd, arguments if "-i" in arguments else ["scan.nii.gz", *arguments], message
    )


@pytest.mark.parametrize(("arguments", "message"), RANGES, ids=name_of)
def test_an_option_out_of_range_is_wrong_use(place, capsys, arguments, message):
    arguments = arguments.split()
    check_refusal(
        capsys, place, arguments if "-i" in arguments else ["scan.nii.gz", *arguments], message, 2
    )


@pytest.mark.parametrize(("arguments", "message"), COMMANDS, ids=name_of)
def test_refuses_command(place, capsys, arguments, message):
    check_refusal(capsys, place, arguments.split(), message)


def test_refuses_a_scan_in_which_the_network_sees_no_brain(place, monkeypatch, capsys):
    def make_blind_engine(stage, *_):
        return lambda image: np.full((2, *stage.window.shape), -8, np.float32)

    monkeypatch.setattr("deskull.stripper.make_engine", make_blind_engine)
    check_refusal(capsys, place, ["scan.nii.gz"], "scan.nii.gz: no brain found. Is it a head")


def test_a_fill_that_cannot_be_is_refused_before_the_scan_is_stripped(place, monkeypatch, capsys):
    monkeypatch.setattr("deskull.stripper.Stripper.__call__", lambda *_: 1 / 0)
    head = np.asarray(HEAD.dataobj).astype("i2")
    save_image(nib.Nifti1Image(head, HEAD.affine), place / "whole.nii")
    check_refusal(capsys, place, ["-i", "whole.nii", "-f", "nan"], "fill nan: the image stores")


def test_no_folder_of_steps_is_made_for_a_scan_that_cannot_be_read(place, capsys):
    check_refusal(capsys, place, ["missing.nii.gz", "--steps", "steps"], "no such file")


@NOT_ROOT
def test_refuses_closed_folder(place, capsys):
    place.chmod(0o555)
    try:
        check_refusal(capsys, place, ["scan.nii.gz"], "no permission to write in")
    finally:
        place.chmod(0o755)


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan.nii.gz"],
        ["scan.nii.gz", "-m", "mask.nii.gz", "-p", "probability.nii"],
        ["scan.nii.gz", "-m", "mask.nii.gz", "--picture", "look.png"],
        ["scan.nii.gz", "-m", "mask.nii.gz", "-d", "distance.hdr"],
    ],
)
def test_a_full_disk_leaves_everything_as_it_was(place, capsys, arguments):
    (place / "mask.nii.gz").write_text("old")
    with full_disk(10_000):  # a mask is smaller
        check_refusal(
            capsys, place, arguments, "not written (File too large). Check space and permissions"
        )

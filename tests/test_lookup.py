"""What a user types: names without a suffix, hints, pointers to content elsewhere, and pipes."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from ball import HEAD as BALL
from ball import ball, list_files, load, place, run
from deskull.errors import ImageFileError
from deskull.image.lookup import find_image
from deskull.image.volume import load_volume
from deskull.image.writing import save_image
from dicom_files import HEAD as DICOM_HEAD
from dicom_files import make_slice, write_series
from scans import HEAD, WRITERS, write_nifti
from systems import BASH, DEVICES

__all__ = ["ball", "place"]


# --- names without a suffix


@pytest.mark.parametrize("name", [*WRITERS, "scan.nii.xz", "scan.NII.gz"])
def test_a_name_without_its_suffix_is_found(tmp_path, name):
    (tmp_path / name).touch()
    stem = tmp_path / name.split(".")[0]
    header = name.replace(".img", ".hdr")  # of a pair the header stands for both
    (tmp_path / header).touch()
    assert find_image(stem) == tmp_path / header


def test_a_name_without_its_suffix_is_read_and_stripped(place):
    assert run("scan", "out.nii.gz") == 0
    assert (place / "out.nii.gz").exists()
    assert run("scan") == 0
    assert (place / "scan_brain.nii.gz").exists()


def test_an_input_named_without_its_suffix_is_not_replaced(place, capsys):
    before = list_files(place)
    assert run("scan", "-o", "scan.nii.gz") == 1
    assert "it is an input, and an input is never replaced" in capsys.readouterr().err
    assert list_files(place) == before


def test_a_folder_comes_before_a_file_with_a_suffix(tmp_path):
    write_series(tmp_path / "scan")
    write_nifti(tmp_path / "scan.nii.gz")
    assert np.array_equal(load_volume(tmp_path / "scan").data, DICOM_HEAD)


def test_several_images_of_a_name_are_listed(tmp_path):
    for name in ("scan.nii", "scan.nii.gz", "scan_brain.nii.gz", "scan.json"):
        (tmp_path / name).touch()
    with pytest.raises(ImageFileError, match=r"scan: 2 images .*: scan.nii, scan.nii.gz\. Give"):
        find_image(tmp_path / "scan")


def test_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(load_volume(write_nifti(tmp_path / "scan.nii")).data, HEAD)
    assert find_image("~/scan.nii") == tmp_path / "scan.nii"


# --- hints

HINTS = [
    ("sub-01_T1w.nii", "Did you mean sub-01_T1w.nii.gz?"),
    ("sub-01_T1w.mgz", "Did you mean sub-01_T1w.nii.gz?"),
    ("SUB-01_t1w.nii.gz", "Did you mean sub-01_T1w.nii.gz?"),
    ("sub-01_T1.nii.gz", "Did you mean sub-01_T1w.nii.gz?"),
    ("sub-1_T1w.nii.gz", "Did you mean sub-01_T1w.nii.gz?"),
    ("sub01_T1w", "no such file."),
    ("two.hdr", "Did you mean two.nii or two.nii.gz?"),
    ("other.nii.gz", "other.nii.gz: no such file."),
    ("nowhere/sub-01_T1w.nii.gz", "no such file. There is no folder nowhere."),
]


@pytest.mark.parametrize(("typed", "message"), HINTS, ids=[typed for typed, _ in HINTS])
def test_a_wrong_name_gets_a_hint(tmp_path, monkeypatch, typed, message):
    monkeypatch.chdir(tmp_path)
    for name in ("sub-01_T1w.nii.gz", "sub-01_T1w.json", "two.nii.gz", "two.nii", "notes.txt"):
        Path(name).touch()
    with pytest.raises(ImageFileError) as caught:
        find_image(typed)
    assert str(caught.value).endswith(message)


# --- content that is elsewhere

KEY = ".git/annex/objects/0z/1M/MD5E-s99--d41d8.nii.gz/MD5E-s99--d41d8.nii.gz"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
POINTERS = {
    "link": (lambda path: path.symlink_to(f"../../{KEY}"), "a git-annex link", "datalad get {}"),
    "unlocked": (
        lambda path: path.write_text("/annex/objects/MD5E-s99--d41d8.nii.gz\n"),
        "a git-annex pointer",
        "git annex get {}",
    ),
    "large key": (
        lambda path: path.write_text("/annex/objects/MD5E-s99--d41d8.nii.gz\n/annex/ unlocked\n"),
        "a git-annex pointer",
        "datalad get {}",
    ),
    "no links": (lambda p: p.write_text(f"../../{KEY}"), "a git-annex pointer", "datalad get {}"),
    "LFS": (lambda path: path.write_text(LFS), "a Git LFS pointer", "git lfs pull"),
    "dead link": (lambda p: p.symlink_to("moved/away.nii"), "a link to moved/away.nii", "Repair"),
}


@pytest.mark.parametrize("name", ["sub-01_T1w.nii.gz", "scan.mgz", "scan.nii", "IM 0001", "a.dcm"])
@pytest.mark.parametrize("kind", POINTERS)
def test_missing_content_is_reported_with_the_command_that_gets_it(tmp_path, kind, name):
    make, what, remedy = POINTERS[kind]
    make(tmp_path / name)
    with pytest.raises(ImageFileError) as caught:
        load_volume(tmp_path / name)
    quoted = f"'{tmp_path / name}'" if " " in name else str(tmp_path / name)
    assert f"its content is missing, there is only {what}. " in str(caught.value)
    assert remedy.format(quoted) in str(caught.value)


def test_a_folder_of_pointers_is_reported(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.dcm").write_text(LFS)
    with pytest.raises(ImageFileError, match=r"no DICOM found, but 3 files .*`git lfs pull`"):
        load_volume(tmp_path)


def test_a_text_that_mentions_git_annex_is_no_pointer(tmp_path):
    (tmp_path / "scan.nii").write_text("see\n/annex/objects/MD5E-s99\n")
    with pytest.raises(ImageFileError, match="not an image"):
        load_volume(tmp_path / "scan.nii")


# --- pipes


def make_tar():
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for number in range(DICOM_HEAD.shape[2]):
            content = make_slice(number)
            entry = tarfile.TarInfo(f"{number}.dcm")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def content_of(name, folder):
    if name == "tar":
        return make_tar(), DICOM_HEAD
    content = WRITERS[name](folder / name).read_bytes()
    return (gzip.compress(content) if name == "scan.nii" else content), HEAD


@pytest.mark.parametrize(
    "name", ["scan.nii", "scan.mgh", "scan.mgz", "scan.nrrd", "scan.mha", "tar"]
)
def test_a_named_pipe_is_read(tmp_path, name):
    content, head = content_of(name, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    volume = load_volume(tmp_path / "pipe")
    writer.join()
    assert np.array_equal(volume.data, head)
    assert volume.name == "pipe"


READ = (
    "import sys; from deskull import load_volume; print(int(load_volume(sys.argv[1]).data.sum()))"
)


@pytest.mark.parametrize("word", ["-", pytest.param("/dev/stdin", marks=DEVICES)])
def test_standard_input_is_read(tmp_path, word):
    content, head = content_of("scan.nii", tmp_path)
    arguments = [sys.executable, "-c", READ, word]
    done = subprocess.run(arguments, input=content, capture_output=True, check=True)
    assert int(done.stdout) == head.sum()
    with (tmp_path / "scan.nii").open("rb") as file:
        done = subprocess.run(arguments, stdin=file, capture_output=True, check=True)
    assert int(done.stdout) == head.sum()


@BASH
def test_a_substituted_process_is_read(tmp_path):
    path = write_nifti(tmp_path / "scan.nii")
    line = f'"{sys.executable}" -c "$READ" <(gzip -c "{path}")'
    done = subprocess.run(
        ["bash", "-c", line], env={**os.environ, "READ": READ}, capture_output=True, check=True
    )
    assert int(done.stdout) == HEAD.sum()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the pipe is empty"), (b"hello", "starts with b'hello'")],
)
def test_a_pipe_without_an_image_is_reported(tmp_path, content, message):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    with pytest.raises(ImageFileError, match=message):
        load_volume(tmp_path / "pipe")
    writer.join()


@DEVICES
def test_a_device_is_no_pipe():
    with pytest.raises(ImageFileError, match="/dev/zero: a device, not a file"):
        load_volume("/dev/zero")


def test_a_pipe_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.image.archives.MAX_BYTES", 2**20)
    os.mkfifo(tmp_path / "pipe")

    def write():
        with pytest.raises(BrokenPipeError):
            (tmp_path / "pipe").write_bytes(bytes(2**24))

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(ImageFileError, match="pipe: more than 1 MiB in it"):
        load_volume(tmp_path / "pipe")
    writer.join()


def test_a_scan_from_a_pipe_is_stripped_where_outputs_have_names(place, capsys):
    os.mkfifo(place / "pipe")
    assert run("pipe") == 1
    assert (
        "pipe: has no name to derive output names from; expected -o FILE"
        in capsys.readouterr().err
    )
    save_image(BALL, place / "plain.nii")
    content = (place / "plain.nii").read_bytes()
    writer = threading.Thread(target=(place / "pipe").write_bytes, args=(content,))
    writer.start()
    assert run("pipe", "-o", "brain.nii.gz", "-m", "mask.nii.gz") == 0
    writer.join()
    assert run("scan.nii.gz", "-m", "expected.nii.gz") == 0
    assert np.array_equal(load(place / "mask.nii.gz"), load(place / "expected.nii.gz"))


# --- what was left out is reported


def test_a_note_stands_on_the_terminal_and_in_the_record(place, capsys):
    with (place / "scan.nii.gz").open("ab") as file:
        file.write(b"more bytes")
    assert run("scan.nii.gz", "-m", "mask.nii.gz", "--record", "what.json") == 0
    note = "10 bytes after its compressed content were ignored"
    assert capsys.readouterr().err == f"deskull: scan.nii.gz: {note}.\n"
    assert json.loads((place / "what.json").read_text())["input"]["notes"] == [note]


@pytest.mark.parametrize("name", ["a+orig.HEAD", "a+orig.BRIK.gz", "a.PAR", "a.mif", "a.MIF.GZ"])
def test_a_format_that_is_known_and_not_read_is_named_so(tmp_path, name):
    content = b"some image" * 9
    packed = name.lower().endswith(".gz")
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ImageFileError, match=r"does not read; .*3dAFNItoNIFTI.* or mrconvert"):
        load_volume(tmp_path / name)

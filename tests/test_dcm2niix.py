"""The converter of DICOM: where it is found, and that what it leaves out is reported."""

import os
import sys

import numpy as np
import pytest

from deskull.errors import ImageFileError
from deskull.image.formats import dcm2niix as converter
from deskull.image.volume import load_volume
from dicom_files import HEAD, write_series


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series")


def hide_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "dcm2niix", None)


def test_a_converter_on_the_path_is_used(series, monkeypatch, tmp_path):
    import dcm2niix

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dcm2niix").symlink_to(dcm2niix.bin)
    hide_package(monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert converter.find_converter("scan") == str(tmp_path / "bin" / "dcm2niix")
    assert np.array_equal(load_volume(series).data, HEAD)


def test_a_missing_converter_is_named(series, monkeypatch):
    hide_package(monkeypatch)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ImageFileError, match=r"series: DICOM needs.*pip install dcm2niix"):
        load_volume(series)


def fake_converter(monkeypatch, tmp_path, script):
    import dcm2niix

    if os.name != "posix":
        pytest.skip("needs programs that are scripts of a shell")
    path = tmp_path / "converter"
    path.write_text(f"#!/bin/sh\nREAL={dcm2niix.bin}\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(dcm2niix, "bin", str(path))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Error: unsupported transfer syntax'; exit 2", r"not convert it \(Error: unsupp"),
        (
            "echo 'Warning: odd'; echo 'Warning: 2 images have identical time.'; exit 2",
            r"it \(Warning: 2 images have identical time; exit",
        ),
        (
            "echo 'Warning: odd'; echo 'Slices skipped: image position'; exit 2",
            r"it \(Slices skipped: image position; exit",
        ),
        (
            "echo 'Warning: Unable to write x.nii (disk full?)'; exit 1",
            "series: no space in .* to unpack it. Free some, or set TMPDIR to a larger folder",
        ),
        ("exit 3", r"0 converted; dcm2niix could not convert it \(exit code 3\)"),
        ('for last; do :; done; rm "$last"/000002.dcm; $REAL "$@"', "6 files of series 3, 5 conv"),
        ('$REAL "$@"; exit 8', r"could not convert it \(.*exit code 8"),
    ],
    ids=["fails", "identical", "skipped", "full", "silent", "leaves one out", "fails in part"],
)
def test_a_converter_that_fails_even_in_part_is_reported(
    series, tmp_path, monkeypatch, script, message
):
    fake_converter(monkeypatch, tmp_path, script)
    with pytest.raises(ImageFileError, match=message):
        load_volume(series)


def test_the_slices_are_counted_where_the_converter_prints_no_number(
    series, tmp_path, monkeypatch
):
    fake_converter(monkeypatch, tmp_path, '$REAL "$@" > /dev/null')
    assert np.array_equal(load_volume(series).data, HEAD)

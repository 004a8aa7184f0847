"""Results that are saved: nothing is replaced, names are those found; frames and pipes."""

import os
import threading

import nibabel as nib
import numpy as np
import pytest

import deskull
from ball import HEAD, ball, place, read_json, run
from deskull.errors import OptionError, OutputError
from deskull.image.volume import load_volume

__all__ = ["ball", "place"]


def strip(scan, **choices):
    return deskull.strip(scan, threads=1, **choices)


@pytest.mark.parametrize("name", ["scan.nii.gz", "link.nii.gz", "./scan.nii.gz"])
@pytest.mark.parametrize("output", ["brain", "mask"])
def test_the_scan_is_never_replaced(ball, place, name, output):
    (place / "link.nii.gz").symlink_to("scan.nii.gz")
    before = (place / "scan.nii.gz").read_bytes()
    with pytest.raises(OutputError, match="it is an input, and an input is never replaced"):
        strip("scan.nii.gz").save(**{output: name})
    assert (place / "scan.nii.gz").read_bytes() == before


def test_nor_is_the_file_of_an_image_of_nibabel(ball, place):
    result = strip(nib.load("scan.nii.gz"))
    with pytest.raises(OutputError, match="it is an input"):
        result.save(brain="scan.nii.gz")


def test_two_outputs_of_one_name_are_refused(ball, place):
    with pytest.raises(OutputError, match="requested as brain and as mask"):
        strip("scan.nii.gz").save(brain="both.nii.gz", mask="both.nii.gz")
    assert not (place / "both.nii.gz").exists()


@pytest.mark.parametrize("output", ["picture", "record"])
def test_an_output_has_an_ending_of_its_own(ball, place, output):
    with pytest.raises(OutputError, match=r"cannot write this kind of file; expected"):
        strip("scan.nii.gz").save(**{output: "x.nii.gz"})


def test_a_name_without_suffix_has_a_record(ball, place):
    result = strip("scan")
    result.save(record="r.json")
    assert result.volume.path.name == "scan.nii.gz"
    assert read_json(place / "r.json")["input"]["path"] == "scan.nii.gz"


def test_a_frame_of_an_image_of_nibabel(ball, place):
    series = np.stack([np.asarray(HEAD.dataobj) * n for n in (1, 2)], axis=-1)
    image = nib.Nifti1Image(series, HEAD.affine)
    result = strip(image, frame=1)
    assert result.volume.frame == 1
    np.testing.assert_array_equal(result.volume.data, series[..., 1].astype(np.float32))
    with pytest.raises(OptionError, match="frame 1: a Volume is one frame"):
        strip(load_volume("scan.nii.gz"), frame=1)


def test_an_image_that_was_moved_in_memory_keeps_its_place(ball, place):
    image = nib.load("scan.nii.gz")
    image.affine[:3, 3] += (10, 20, 30)
    strip(image).save(mask="mask.nii.gz", brain="brain.mgz")
    for name in ("mask.nii.gz", "brain.mgz"):
        np.testing.assert_allclose(nib.load(name).affine, image.affine, atol=1e-4)
    assert not np.allclose(image.header.get_best_affine(), image.affine)  # the user's stays


def test_a_record_of_a_pipe(ball, place):
    os.mkfifo("pipe")
    content = (place / "scan.nii.gz").read_bytes()
    writer = threading.Thread(target=(place / "pipe").write_bytes, args=(content,))
    writer.start()
    assert run("pipe", "-o", "b.nii.gz", "--record", "r.json") == 0
    writer.join()
    assert read_json(place / "r.json")["input"]["sha256"] == ""
    assert nib.load("b.nii.gz").shape == HEAD.shape

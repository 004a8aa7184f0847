"""Enhanced DICOM: many frames in one file, each with a place of its own."""

import numpy as np
import pytest

from deskull.errors import ImageFileError
from deskull.image.formats.dicom_series import find_files, find_series
from deskull.image.volume import load_volume
from dicom_files import AFFINE, HEAD, write_enhanced

AXIAL, SAGITTAL = "1\\0\\0\\0\\1\\0", "0\\1\\0\\0\\0\\-1"


@pytest.mark.parametrize("turns", [None, [AXIAL] * 6])
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_enhanced_multi_frame(tmp_path, syntax, turns):
    volume = load_volume(write_enhanced(tmp_path / "series", turns=turns, syntax=syntax))
    assert np.array_equal(volume.data, HEAD)
    assert volume.grid.affine == pytest.approx(AFFINE)


FAULTS = {
    "gap": (
        [-12, -8, -4, 4, 8, 12],
        "uneven distances; about 1 missing, .* beside frame 3",
    ),
    "one elsewhere": (
        [-12, -8, -2.1, 0, 4, 8],
        "uneven distances; 2.1 to 5.9 mm, the widest beside frame 2",
    ),
    "a place twice": ([-12, -8, -4, 0, 4, 4], "are missing: 6 frames at 5 places, 1 to 2 at each"),
    "one place": ([0] * 6, "its 6 frames lie at one place; expected slices"),
}


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("fault", FAULTS)
def test_frames_that_are_no_even_stack_are_refused(tmp_path, fault, syntax):
    places, message = FAULTS[fault]
    series = write_enhanced(tmp_path / "series", places, syntax=syntax)
    with pytest.raises(ImageFileError, match=message):
        load_volume(series)


def test_noise_of_rounding_is_no_place_of_its_own(tmp_path):
    places = [n % 3 * 4 - 12.005 + (1e-5 if n > 2 else -1e-5) for n in range(6)]
    (series,) = find_series(find_files(write_enhanced(tmp_path / "series", places)))
    assert str(series) == "3 t1 (8 x 10 x 3 x 2)"
    assert (series.find_ragged(), series.find_fault_of_frames()) == ("", "")


def test_frames_of_two_planes_are_left_to_the_converter(tmp_path):
    series = write_enhanced(tmp_path / "series", turns=[AXIAL] * 3 + [SAGITTAL] * 3)
    with pytest.raises(ImageFileError, match="series"):
        load_volume(series)

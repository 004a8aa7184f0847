"""Masks made with settings beyond the sliders of the viewer: shown, and made anew."""

import numpy as np
import pytest

from deskull.cohort.stripped import find_stripped
from deskull.prepare.postprocess import clean_mask, move_border
from deskull.review.scene import make_entries
from deskull.review.viewer import Viewer
from reviewed import batch, change_settings, load, number_of, stripped_once
from served import serving

__all__ = ["batch", "stripped_once"]


def send(mask):
    return mask.astype(np.uint8).tobytes(order="F")


@pytest.mark.parametrize("border", [-30.0, 30.0])
def test_a_mask_made_with_settings_beyond_the_sliders(batch, border):
    """It is shown as it is; one setting is changed, and the other one stays."""
    change_settings(batch / "one_record.json", threshold=0.01, border=border)
    number = number_of(batch, "one.nii.gz")
    probability = load(batch / "one_probability.nii.gz")
    with serving(Viewer(make_entries(find_stripped(batch)), "Review")) as page:
        assert page.get(f"mask?scan={number}") == send(load(batch / "one_mask.nii.gz"))
        for threshold, moved in ((0.01, 2), (0.4, border)):
            expected = move_border(clean_mask(probability >= threshold), (4, 4, 4), moved)
            given = page.get(f"mask?scan={number}&threshold={threshold}&border={moved}")
            assert given == send(expected)
        assert page.ask(f"mask?scan={number}&threshold=0.009")[0] == 422
        assert page.ask(f"mask?scan={number}&border=30.5")[0] == 422

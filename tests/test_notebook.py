"""What Python users meet: results that show themselves, keywords, pickles, true messages."""

import pickle
import re
import sys
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from ball import HEAD, ball, load_ball, place, run
from deskull import Settings, strip, stripper
from deskull import result as result_module
from deskull.errors import InputError, OptionError, WeightsError
from deskull.measure.quality import Flag
from deskull.picture.live import make_widget

__all__ = ["ball", "place"]  # fixtures


@pytest.fixture
def strip_ball(monkeypatch):
    monkeypatch.setattr(stripper, "make_engine", stripper.make_engine)  # load_ball replaces it
    return load_ball("default", "cpu", 1)


@pytest.fixture
def result(strip_ball):
    return strip_ball(HEAD)


def test_a_result_is_one_line_of_text(result):
    assert re.fullmatch(r"Result\(image: 9\d\d ml, score \d+, .*\)", repr(result))
    assert len(repr(result)) < 200


def test_a_notebook_shows_picture_volume_score_and_doubts(result):
    result.flags[:] = [Flag("rim", "It is <rough>.")]
    html = result._repr_html_()
    assert f"{result.volume_ml:.0f} ml, score {result.score} of 100" in html
    assert "<b>rim</b>: It is &lt;rough&gt;." in html
    picture = re.search(r'src="data:image/png;base64,([^"]*)"', html)[1]
    assert Image.open(BytesIO(b64decode(picture))).width == 1600
    assert not re.search(r'(src|href)="(?!data:)', html)


def test_show_opens_the_picture(result, monkeypatch):
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda image, title: shown.append((image, title)))
    result.show()
    [(image, title)] = shown
    assert image.width == 1600
    assert title == result.title


@pytest.fixture
def shown(monkeypatch):
    """What a notebook displays."""
    displayed = []
    notebook = SimpleNamespace(get_ipython=lambda: "a kernel")
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    display = SimpleNamespace(display=displayed.append)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return displayed


class Widget:
    """Takes what ipyniivue's widget takes."""

    def __init__(self, **settings):
        self.volumes = None

    def load_volumes(self, volumes):
        self.volumes = volumes


def test_a_live_widget_shows_scan_and_mask_where_they_lie(result, shown, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", SimpleNamespace(NiiVue=Widget))
    result.show(live=True)
    scan, mask = (nib.Nifti1Image.from_bytes(one["data"]) for one in shown[0].volumes)
    np.testing.assert_array_equal(np.asarray(mask.dataobj) > 0, result.mask)
    np.testing.assert_allclose(scan.get_fdata(), result.volume.data, rtol=1e-6)
    for image in (scan, mask):
        np.testing.assert_allclose(image.affine, HEAD.affine)


def test_the_real_widget_takes_them(result):
    pytest.importorskip("ipyniivue")
    widget = make_widget(result.volume.data, result.mask, HEAD.affine)
    assert [volume.name for volume in widget.volumes] == ["scan.nii", "mask.nii"]


def test_a_live_widget_needs_a_notebook_and_its_extra(result, monkeypatch, shown):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(InputError, match=r"ipyniivue is not installed.*\[notebook\]"):
        result.show(live=True)
    monkeypatch.delitem(sys.modules, "IPython")
    with pytest.raises(InputError, match="no notebook; expected Jupyter"):
        result.show(live=True)


def test_settings_are_keywords(place):
    plain, grown = (strip("scan.nii.gz", threads=1, border=mm) for mm in (0, 4))
    assert grown.volume_ml > plain.volume_ml
    assert grown.record.settings.border == 4


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"borders": 1}, "borders: no setting; expected one of threshold, border, csf, n4, fill"),
        ({"border": 400}, "border 400; expected"),
        ({"border": 1, "settings": Settings()}, "settings and border; give one"),
    ],
)
def test_wrong_keywords_are_said(choices, message):
    with pytest.raises(OptionError, match=message):
        strip("scan.nii.gz", **choices)


def test_an_array_without_a_grid_is_said(strip_ball):
    message = r"ndarray of shape \(40, 48, 44\): .* nibabel\.Nifti1Image\(array, affine\)"
    with pytest.raises(InputError, match=message):
        strip_ball(np.asarray(HEAD.dataobj))
    with pytest.raises(InputError, match=r"list: it has no voxel size or orientation"):
        strip_ball([1, 2])
    with pytest.raises(InputError, match=r"scan\.nii: a Stripper reads no files\. .*load_volume"):
        strip_ball("scan.nii")


def test_a_stripper_survives_pickle(strip_ball):
    again = pickle.loads(pickle.dumps(strip_ball))
    assert again.weights.digest == strip_ball.weights.digest
    assert (again.device, again.threads, again.runtime) == (
        strip_ball.device,
        strip_ball.threads,
        strip_ball.runtime,
    )
    np.testing.assert_array_equal(again(HEAD).mask, strip_ball(HEAD).mask)
    assert len(pickle.dumps(strip_ball)) < 1000


def test_a_pickle_does_not_take_other_weights(strip_ball):
    content = pickle.dumps(strip_ball).replace(
        strip_ball.weights.digest.encode(), b"0" * len(strip_ball.weights.digest)
    )
    with pytest.raises(WeightsError, match="other weights than those of the pickled"):
        pickle.loads(content)


def test_the_picture_says_which_scan_it_is(place, monkeypatch):
    titles = []
    draw = result_module.encode_picture
    monkeypatch.setattr(
        "deskull.result.encode_picture",
        lambda kind, data, mask, grid, title: titles.append(title) or draw(kind, data, mask, grid),
    )
    assert run("scan.nii.gz", "--picture", "look.svg", "-q") == 0
    assert titles[0].startswith("scan.nii.gz: ")
    assert " ml, score " in titles[0]


def test_slices_have_positions_and_a_scale(place):
    assert run("scan.nii.gz", "--picture", "look.svg", "-q") == 0
    text = (place / "look.svg").read_text("utf-8")
    found = {axis: [int(v) for v in re.findall(rf">{axis} = (-?\d+) mm<", text)] for axis in "xyz"}
    assert {axis: len(values) for axis, values in found.items()} == {"x": 6, "y": 8, "z": 8}
    affine = nib.load("scan.nii.gz").affine
    for axis, values in zip((0, 1, 2), found.values(), strict=True):
        steps = (np.array(values) - affine[axis, 3]) / abs(affine[axis, axis])
        assert (np.abs(steps - np.round(steps)) < 0.15).all()  # at voxels, in whole mm
    assert ">50 mm<" in text


def test_a_low_score_without_flags_is_not_called_free_of_doubts(strip_ball):
    result = strip_ball(HEAD)
    assert "no doubts" in replace(result, flags=[], record=replace(result.record, score=100)).title
    low = replace(result, flags=[], record=replace(result.record, score=55))
    assert low.title.endswith("score 55, low score")

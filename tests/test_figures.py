"""Figures of the benchmarks, drawn from made-up tables: labels off the dots, light and dark."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pandas")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

import compare
import corruption
import figures
import quality

METHODS = ("deskull", "deepbet", "robex", "synthstrip")


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are made, instead of files."""
    made = []
    monkeypatch.setattr(figures, "save_figure", lambda draw, path: made.append(draw()))
    return made


def make_times(seconds):
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "cpu": cpu * rng.uniform(0.9, 1.1), "dice": rng.uniform(0.9, 0.98)}
        for method, cpu in zip(METHODS, seconds, strict=True)
        for _ in range(9)
    ]
    return pd.DataFrame(rows).assign(reference="reference", trained=False)


def make_damage():
    rng = np.random.default_rng(0)
    rows = [
        {"corruption": kind, "level": level, "method": method, "dice": rng.uniform(0.9, 0.92)}
        for kind, one in corruption.CORRUPTIONS.items()
        for level in (one.untouched, *one.levels)
        for method in METHODS
        for _ in range(3)
    ]
    return pd.DataFrame(rows)


def find_boxes(figure):
    """Places of the axes, and of the names beside or above them, in pixels."""
    FigureCanvasAgg(figure).draw()
    axes = [axis.get_window_extent() for axis in figure.axes]
    return axes, [text.get_window_extent() for axis in figure.axes for text in axis.texts]


def overlap(one, other):
    return one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1


@pytest.mark.parametrize("seconds", [(2, 5, 90, 30), (2, 2.1, 2.2, 2.3), (0.1, 1, 1, 1000)])
def test_names_lie_off_the_dots_and_off_each_other(drawn, seconds):
    compare.draw(make_times(seconds), Path("compare.png"))
    axes, names = find_boxes(drawn[0])
    assert len(names) == len(METHODS)
    for number, name in enumerate(names):
        assert name.y0 >= axes[0].y1  # above the plot
        assert not any(overlap(name, other) for other in names[number + 1 :])
        assert name.x0 >= 0
        assert name.x1 <= drawn[0].bbox.x1


def test_lines_are_named_at_their_ends(drawn):
    corruption.draw(make_damage(), Path("corruption.png"))
    axes, names = find_boxes(drawn[0])
    assert len(names) == 2 * len(METHODS)
    for number, name in enumerate(names):
        assert name.x0 >= axes[-1].x1
        assert not any(overlap(name, other) for other in names[number + 1 :])


def make_scores():
    rng = np.random.default_rng(0)
    dice = rng.uniform(0.7, 1, 60)
    table = pd.DataFrame({"dice": dice, "score": 100 * dice, "tuned": False, "case": "hole"})
    table["head"] = ["head", "other", quality.PHANTOM] * 20
    for name, limit in quality.LIMITS.items():
        table[name] = dice < limit
    return table.assign(**{f"damage cost > {quality.COST}": dice < 0.8})


def test_every_axis_is_named_and_a_logarithmic_one_is_said(drawn):
    compare.draw(make_times((2, 5, 90, 30)), Path("compare.png"))
    corruption.draw(make_damage(), Path("corruption.png"))
    quality.draw(make_scores(), Path("quality.png"))
    for figure in drawn:
        for axis in figure.axes:
            assert axis.get_xlabel()
            assert axis.get_ylabel() or axis.get_subplotspec().colspan.start > 0
            assert (axis.get_xscale() == "log") == ("logarithmic" in axis.get_xlabel())


def test_a_figure_is_written_for_light_and_dark(tmp_path):
    from PIL import Image

    compare.draw(make_times((2, 5, 90, 30)), tmp_path / "compare.png")
    corners = {}
    for path in sorted(tmp_path.iterdir()):
        corners[path.name] = sum(Image.open(path).convert("RGB").getpixel((2, 2)))
    assert corners == {"compare.png": 3 * 255, "compare_dark.png": 0x0D + 0x11 + 0x17}

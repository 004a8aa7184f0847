"""Every program in examples/ runs."""

import runpy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from learn_heads import make_label_map

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_make_demo_head_writes_a_head_and_its_truth(tmp_path):
    pytest.importorskip("torch")
    nib.save(make_label_map(), tmp_path / "labels.nii.gz")
    program = runpy.run_path(str(EXAMPLES / "make_demo_head.py"))
    program["main"](str(tmp_path / "labels.nii.gz"), str(tmp_path))
    head = np.asarray(nib.load(tmp_path / "demo_T1w.nii.gz").dataobj)
    truth = np.asarray(nib.load(tmp_path / "demo_T1w_truth.nii.gz").dataobj)
    assert head.shape == truth.shape
    assert set(np.unique(truth)) == {0, 1}
    # The brain is a ball of 68 mm: 1317 ml.
    assert truth.sum() * 1.5**3 / 1000 == pytest.approx(1317, rel=0.15)
    assert head[truth > 0].mean() > head[truth == 0].mean()


def test_every_example_has_a_test():
    assert [path.name for path in EXAMPLES.glob("*.py")] == ["make_demo_head.py"]

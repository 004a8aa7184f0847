"""The tutorials of the docs run as they are written, at small size, on synthetic heads."""

import re
import runpy
import shlex
import shutil
import sys

import pytest

from ball import run
from docs_pages import ROOT, find_blocks

SMALLER = {  # parts of a tutorial's command lines, and what the test writes instead
    "examples/make_study.py study": f"{ROOT}/examples/make_study.py study --voxel-size 4",
    "examples/make_dataset.py --out heads": (
        f"{ROOT}/examples/make_dataset.py --out heads --voxel-size 6 --copies 5"
    ),
    "--recipe examples/upright_t1w.toml": f"--recipe {ROOT}/examples/upright_t1w.toml",
    "--minutes 30": "--steps 2",
    "finetune brains": "finetune --steps 2 --validation 0.5 brains",
}
BY_HAND = "deskull review brains"

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def walk(page, folder, correct=None):
    """Run the command lines of a tutorial in order; what is done by hand is `correct`."""
    for json_text in find_blocks(page, "json"):
        (folder / "about.json").write_text(json_text)
    for block in find_blocks(page, "(?:console)?"):
        if BY_HAND in block and correct:
            correct()
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            for part, less in SMALLER.items():
                line = line.replace(part, less)
            run_line(line)


def run_line(line):
    program, *arguments = shlex.split(line)
    if program == "python":
        before, sys.argv = sys.argv, arguments
        try:
            sys.path.insert(0, str(ROOT / "examples"))
            runpy.run_path(arguments[0], run_name="__main__")
        finally:
            sys.argv = before
            sys.path.remove(str(ROOT / "examples"))
        return
    arguments = ["bids", *arguments] if program == "deskull-bids" else arguments
    assert run(*arguments) == 0, line


def test_a_study_from_bids_to_the_group_report(folder):
    walk("tutorials/bids-study.md", folder)
    derivatives = folder / "study/derivatives/deskull"
    lines = (derivatives / "group_brain.tsv").read_text("utf-8").splitlines()
    assert len(lines) == 5
    assert ["field-cuts-brain" in line for line in lines] == [False] * 4 + [True]
    assert (derivatives / "deskull_report.html").stat().st_size > 10_000


def test_correcting_masks_and_fine_tuning(folder):
    pytest.importorskip("torch")
    pytest.importorskip("pandas")

    def correct():
        rows = ["image\tmask"]
        for number in ("01", "02", "03"):
            name = f"sub-{number}/anat/sub-{number}_T1w"
            manual = f"{name}_mask_manual.nii.gz"
            shutil.copy(folder / f"brains/{name}_mask.nii.gz", folder / "brains" / manual)
            rows.append(f"{folder}/study/{name}.nii.gz\t{manual}")
        (folder / "brains/deskull_corrected.tsv").write_text("\n".join(rows) + "\n")

    walk("tutorials/correct.md", folder, correct)
    assert len(list((folder / "brains_ours").rglob("*_mask.nii.gz"))) == 4
    assert (folder / "brains_ours/deskull_report.html").exists()


def test_training_on_heads_of_ones_own(folder):
    pytest.importorskip("torch")
    pytest.importorskip("pandas")
    walk("tutorials/train.md", folder)
    assert len(list((folder / "masks").rglob("*_mask.nii.gz"))) == 5
    assert (folder / "runs/mine/curves.png").exists()

"""A study of three scans, the batch of it, and what that left."""

import csv
import os

import pytest

from ball import HEAD, run
from deskull.image.writing import save_image

SCANS = ["a/one.nii", "a/two.nii", "b/three.nii"]
STEMS = ["a/one", "a/two", "b/three"]


@pytest.fixture
def study(tmp_path, monkeypatch, ball):
    """Work in a folder with a study of three scans, with the ball for a network."""
    monkeypatch.chdir(tmp_path)
    for name in SCANS:
        write_scan(tmp_path / "study" / name)
    return tmp_path


def write_scan(path, image=HEAD):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)


def batch(*arguments):
    return run("batch", "study", "--out-dir", "out", *arguments)


def read_table(path="out/deskull_batch.tsv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def records():
    """When each scan was last stripped."""
    return {
        stem: os.stat(f"out/{stem}_record.json").st_mtime_ns
        for stem in STEMS
        if os.path.exists(f"out/{stem}_record.json")
    }


def changed(before):
    return sorted(stem for stem, when in records().items() if when != before.get(stem))


def read_messages(capsys):
    """Read the lines on stderr, without those of progress, which depend on the time."""
    out, err = capsys.readouterr()
    assert out == ""
    return [line for line in err.splitlines() if "per minute" not in line]

"""A network that knows one thing: the brain is a ball about the middle of its window.

With it the whole way of a scan is walked in a tenth of a second, and every answer is known.
"""

import json
import os
import signal
from dataclasses import replace
from functools import lru_cache

import nibabel as nib
import numpy as np
import pytest

from conftest import make_head
from deskull import cli, stripper
from deskull.prepare.conform import WindowSettings
from deskull.stripper import Stripper

DEADLY = ("two", "3")  # names of scans at which `load_deadly` dies
BRAIN_MM, TISSUE_MM = 60.0, 55.0  # radii
HEAD = make_head()[0]  # 40 x 48 x 44 voxels of 4 mm, its middle at the origin
ALONE = {  # each output option, and a file for it
    "-o": "o.nii.gz",
    "-m": "m.nii",
    "-p": "p.mgz",
    "-d": "d.nii.gz",
    "-c": "c.nii.gz",
    "--record": "r.json",
    "--picture": "p.png",
    "--surface": "s.surf.gii",
}


def make_ball_engine(stage, device, threads, runtime):
    """What `deskull.network.engine.make_engine` does, with a logit that falls by 1 per mm."""
    logits = make_ball_logits(stage.window.shape, stage.window.choose_voxel_size())
    return lambda image: logits


def choose_two_mm(window, extent=None):
    """A ball has one size, whatever its window."""
    return 2.0 if window.is_fitted else window.voxel_size


@lru_cache
def make_ball_logits(shape, voxel_size):
    middle = (np.array(shape) - 1) / 2
    index = np.indices(shape) - middle[:, None, None, None]
    radius = np.sqrt((index**2).sum(axis=0)) * voxel_size
    logits = np.stack([BRAIN_MM - radius, TISSUE_MM - radius]).astype(np.float32)
    logits.flags.writeable = False
    return logits


def load_ball(weights, device, threads):
    """A stripper with the ball for a network, also in a process of its own."""
    stripper.make_engine = make_ball_engine
    WindowSettings.choose_voxel_size = choose_two_mm
    made = Stripper.load(weights, device, threads)
    card = replace(made.weights.card, likeness=None)  # a ball is unlike any head
    made.weights = replace(made.weights, card=card)
    return made


def load_deadly(weights, device, threads):
    """One that kills its process at a scan of these names."""
    mild = load_ball(weights, device, threads)

    def strip(volume, settings):
        if volume.name.startswith(DEADLY):
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        return mild(volume, settings)

    return strip


def ball_ml(radius):
    return 4 / 3 * np.pi * radius**3 / 1000


def load(path):
    """Values of an image file; nibabel leaves an .mgh open that it is given as a path."""
    image = nib.MGHImage.from_bytes(path.read_bytes()) if path.suffix == ".mgh" else nib.load(path)
    return np.asarray(image.dataobj)


def read_json(path):
    return json.loads(path.read_text("utf-8"))


def run(*arguments):
    """Exit code of a command line."""
    try:
        return cli.run([str(argument) for argument in arguments])
    except SystemExit as exit_request:
        return exit_request.code


def list_files(folder):
    """Every file below a folder, links and folders too, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def new_files(folder, before):
    return sorted(list_files(folder).keys() - before.keys())


@pytest.fixture
def ball(monkeypatch):
    """The ball for a network, and an N4 that takes seconds less: it halves every intensity."""
    monkeypatch.setattr("deskull.stripper.make_engine", make_ball_engine)
    monkeypatch.setattr(WindowSettings, "choose_voxel_size", choose_two_mm)
    monkeypatch.setattr("deskull.measure.score.find_unlike", lambda *_: None)  # balls are no heads
    monkeypatch.setattr(
        "deskull.prepare.bias._run_n4", lambda lifted, *_: np.full(lifted.shape, np.log(2))
    )


@pytest.fixture
def place(tmp_path, monkeypatch, ball):
    """Work in a folder that holds one scan, with the ball for a network."""
    monkeypatch.chdir(tmp_path)
    HEAD.to_filename(tmp_path / "scan.nii.gz")
    return tmp_path

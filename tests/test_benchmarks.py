"""The benchmark programs at toy size, with `cp` for a tool: what they say must stay true."""

import os
import sys
from argparse import Namespace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("pandas")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import pandas as pd

import borders
import compare
import corruption
import damaged_heads
import peers
import phantoms
import processes
import quality
import recipes
import synthetic
import truth
from conftest import make_head
from deskull.image.grid import Grid
from deskull.prepare.postprocess import make_signed_distance
from processes import Command
from train_heads import TOY, make_label_map

COPY = Command("deskull", "cp {in} {mask}")
"""A tool whose mask is what is brighter than air."""

SCAN, BRAIN = make_head()
GRID = Grid(BRAIN.shape, SCAN.affine)
HEAD = damaged_heads.Head((100 * BRAIN).astype(np.float32), BRAIN, GRID)


def save(data, path):
    nib.Nifti1Image(np.asarray(data, np.uint8), GRID.affine).to_filename(path)


def read_cells(text):
    """Cells of each line of a Markdown table below its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture
def heads(tmp_path, monkeypatch):
    """Two heads with a reference and one with a majority mask; brain is what is not black."""
    monkeypatch.setattr("compare.DESKULL", COPY)
    monkeypatch.setattr("corruption.DESKULL", COPY)
    folder = tmp_path / "heads"
    folder.mkdir()
    for name, kind in (("a01_T1w", "reference"), ("a02_T1w", "reference"), ("b_T2w", "majority")):
        save(100 * BRAIN, folder / f"{name}.nii.gz")
        save(BRAIN, folder / f"{name}_{kind}.nii.gz")
    return folder


# --- compare


def test_tools_are_compared_by_contrast_and_kind_of_reference(heads, tmp_path, capsys):
    compare.main([str(heads), "--out", str(tmp_path / "out"), "--peer", "no: false {in} {mask}"])
    contrasts, data_sets = capsys.readouterr().out.rstrip().rsplit("\n\n", 1)
    cells = read_cells(contrasts)
    assert [row[:2] for row in cells] == [
        ["T1w, reference (2)", "deskull"],
        ["T1w, reference (2)", "no"],
        ["T2w, majority (1)", "deskull"],
        ["T2w, majority (1)", "no"],
    ]
    assert cells[0][2:6] == ["1.0000 (1.0000 to 1.0000)", "1.0000", "1.0000", "1.0000"]
    assert [row[-1] for row in cells] == ["0", "2", "0", "1"]
    assert [row[0] for row in read_cells(data_sets)[::2]] == [
        "a T1w, reference (2)",
        "b T2w, majority (1)",
    ]
    table = pd.read_csv(tmp_path / "out/compare.tsv", sep="\t")
    assert table.data_set.tolist() == ["a"] * 4 + ["b"] * 2
    assert table.error.dropna().unique().tolist() == ["exit code 1"]
    assert (tmp_path / "out/compare.png").stat().st_size > 1000


def test_a_peer_is_known_by_its_name_and_asked_for_its_version(tmp_path, monkeypatch):
    program = tmp_path / "mri_synthstrip"
    program.write_text("#!/bin/sh\necho SynthStrip 1.7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    peer = peers.find_peer("synthstrip")
    assert peer.name == "SynthStrip 1.7"
    command = peer.fill(Path("a.nii.gz"), Path("b.nii.gz"), Path("c.nii.gz"))
    assert command == ["mri_synthstrip", "-i", "a.nii.gz", "-o", "b.nii.gz", "-m", "c.nii.gz"]


def test_a_peer_that_is_not_there_is_told_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="no deepbet-cli on the PATH"):
        peers.find_peer("deepbet")
    with pytest.raises(SystemExit, match="--peer deepbat: unknown; expected bet, synthstrip"):
        peers.find_peer("deepbat")


def test_the_table_of_peers_tells_what_was_run_from_what_was_published(tmp_path, capsys):
    row = {"level": "summary", "data_set": "", "contrast": "T1w", "truth": "reference"}
    row |= {"trained_on": "no", "method": "deepbet", "scans": 9, "failed": 1, "dice": 0.85}
    row |= {"dice_worst": 0.8, "cpu_s": 7.04, "peak_mb": 999}
    other = row | {"contrast": "T2w", "dice": 0.1}
    pd.DataFrame([row, other]).to_csv(tmp_path / "accuracy.tsv", sep="\t", index=False)
    peers.main([str(tmp_path / "accuracy.tsv")])
    measured, about = capsys.readouterr().out.split("\n\n")
    cells = {row[0]: row[1:] for row in read_cells(measured)}
    assert "| deepbet | T1w |" in about
    assert cells["deepbet"][:4] == ["0.850 (1 of 9 failed)", "0.800", "7.0", "999"]
    assert cells["SynthStrip"][0] == "not run"
    assert cells["SynthStrip"][4].startswith("0.965")


def test_the_best_border_is_one_for_a_data_set_and_a_method(heads, tmp_path, capsys):
    wide = ndimage.binary_dilation(BRAIN, iterations=1)
    for scan, _ in compare.find_pairs(heads, ""):
        save(wide, f"{scan}.wide.nii.gz")
    peer = "wide: cp {in}.wide.nii.gz {mask}"
    compare.main([str(heads), "--only", "a0.", "--out", str(tmp_path / "out"), "--peer", peer])
    wide_row = read_cells(capsys.readouterr().out)[1]
    assert float(wide_row[3]) < 0.95
    assert float(wide_row[4]) > float(wide_row[3]) + 0.02


def test_the_border_of_another_tool_is_found_from_its_masks(heads, tmp_path, capsys):
    wide = make_signed_distance(BRAIN, GRID.voxel_size) <= 3  # larger by 3 mm
    for scan, _ in compare.find_pairs(heads, "a0"):
        save(wide, f"{scan}.wide.nii.gz")
    out, masks = str(tmp_path / "out"), str(tmp_path / "masks")
    arguments = ["--only", "a0", "--out", out, "--masks", masks]
    compare.main([str(heads), *arguments, "--peer", "wide: cp {in}.wide.nii.gz {mask}"])
    capsys.readouterr()
    borders.main([str(tmp_path / "masks")])
    (cells,) = read_cells(capsys.readouterr().out)
    assert cells[:2] == ["wide", "2"]
    assert float(cells[2]) == pytest.approx(3, abs=1)  # voxels of 4 mm
    assert cells[4] == "1.000"
    assert float(cells[6]) < 0.95


def test_borders_need_masks_of_a_peer(tmp_path):
    with pytest.raises(SystemExit, match="expected the folder deskull and one of a peer"):
        borders.main([str(tmp_path)])


def test_participants_trained_on_are_counted_apart_and_gains_are_paired(heads, tmp_path, capsys):
    for scan, _ in compare.find_pairs(heads, "a0"):
        save(BRAIN, f"{scan}.exact.nii.gz")
    save(ndimage.binary_erosion(BRAIN), scan)  # too little of the last, which was not trained on
    arguments = ["--out", str(tmp_path), "--only", "a0", "--trained", "a01"]
    compare.main([str(heads), *arguments, "--peer", "exact: cp {in}.exact.nii.gz {mask}"])
    cells = read_cells(capsys.readouterr().out.split("\n\n")[1])
    assert [row[0] for row in cells[::2]] == [
        "T1w, reference (1)",
        "T1w, reference, trained on (1)",
    ]
    ours, exact, *trained = [row[2] for row in cells]
    assert (exact, trained) == ("1.0000", ["1.0000", "1.0000"])
    assert [row[7] for row in cells] == ["", f"{1 - float(ours):+.4f}", "", "+0.0000"]


def test_a_mask_on_another_grid_is_a_failure_that_is_told(heads, tmp_path, capsys):
    save(BRAIN[1:], tmp_path / "other.nii.gz")
    peer = Command("other", f"cp {tmp_path / 'other.nii.gz'} {{mask}}")
    row = compare.run_method(peer, *compare.find_pairs(heads, "a01")[0])
    assert row["failed"]
    assert "shape 39 x 48 x 44" in row["error"]


def test_no_heads_are_said_so(tmp_path):
    with pytest.raises(SystemExit, match="no head with a reference"):
        compare.main([str(tmp_path), "--out", str(tmp_path)])


# --- exact truth


def test_heads_of_exact_truth_are_what_compare_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(truth, "SHAPE", (48, 58, 56))
    monkeypatch.setattr(truth, "VOXEL_MM", 4.0)
    (tmp_path / "maps").mkdir()
    make_label_map().to_filename(tmp_path / "maps/one.nii.gz")
    arguments = [str(tmp_path / "maps"), "--participants", "one", "--out"]
    truth.main([*arguments, str(tmp_path / "out")])
    truth.main([*arguments, str(tmp_path / "out"), "--kinds", "hard"])
    pairs = compare.find_pairs(tmp_path / "out", "")
    assert len(pairs) == sum(len(contrasts) for contrasts, _ in truth.KINDS.values())
    for scan, reference in pairs:
        head = damaged_heads.load_head(scan, reference)
        ml = head.reference.sum() * head.grid.voxel_volume / 1000
        assert 350 < ml < 3000  # a ball of 1200 ml, stretched, and cut in some
    kinds = {compare.run_method(COPY, *pair)["data_set"] for pair in pairs}
    assert kinds == {f"truth-{kind}" for kind in truth.KINDS}
    thick = nib.load(tmp_path / "out/truth-thick-one_T1w.nii.gz").header.get_zooms()
    assert sorted(thick) == [4, 4, 8]
    truth.main([*arguments, str(tmp_path / "again"), "--kinds", "plain"])
    name = "truth-plain-one_T1w.nii.gz"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_coarse_blocks_keep_the_size_of_the_truth():
    found = damaged_heads.coarsen(HEAD, (8.0, 8.0, 12.0))
    assert found.grid.voxel_size == (8, 8, 12)
    assert found.grid.to_mm((0, 0, 0)).tolist() == (HEAD.grid.to_mm((0.5, 0.5, 1))).tolist()
    given = HEAD.reference.sum() * HEAD.grid.voxel_volume
    assert found.reference.sum() * found.grid.voxel_volume == pytest.approx(given, rel=0.02)


def test_air_of_the_uniform_image_is_salt_and_pepper_and_tissue_is_flat():
    found = damaged_heads.make_uni(HEAD, np.random.default_rng(0)).image
    assert found[~BRAIN].std() > 3 * found[BRAIN].std()
    assert found[BRAIN].mean() == pytest.approx(0.5 + 0.4 / (1 + 0.4**2), abs=0.01)


def test_an_echo_planar_scan_stretches_the_truth_with_the_image():
    found = damaged_heads.scan_by_epi(HEAD)
    assert found.grid.voxel_size == pytest.approx((2.5, 2.5, 2.5))
    bright = found.image > 10
    both = 2 * (bright & found.reference).sum() / (bright.sum() + found.reference.sum())
    assert both > 0.9
    before, after = (
        max(head.grid.to_mm(np.argwhere(head.reference))[:, 1]) for head in (HEAD, found)
    )
    assert 3 < after - before < 9


def test_a_frame_stands_outside_of_the_brain():
    added = damaged_heads.add_frame(HEAD).image != HEAD.image
    assert added.any()
    assert not (added & BRAIN).any()


def test_a_participant_without_a_label_map_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no label map of nobody"):
        truth.main([str(tmp_path), "--participants", "nobody", "--out", str(tmp_path)])


# --- networks on synthetic heads


def test_networks_are_judged_on_the_same_synthetic_heads(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    from deskull.train.recipe import make_recipe
    from deskull.train.run_folder import Run

    (tmp_path / "maps").mkdir()
    make_label_map().to_filename(tmp_path / "maps/one.nii.gz")
    runs = [tmp_path / name for name in ("always", "never")]
    for run, bias in zip(runs, (9, -9), strict=True):  # networks that see brain everywhere or not
        recipe = make_recipe(TOY, run.name)
        state = Run(run, recipe).begin(None, "cpu")
        for parameter in state.mean.parameters():
            torch.nn.init.zeros_(parameter)
        torch.nn.init.constant_(state.mean.head.bias, bias)
        Run(run, recipe).save(state)
    save(100 * BRAIN, tmp_path / "real.nii.gz")
    save(BRAIN, tmp_path / "mask.nii.gz")
    (tmp_path / "pairs.csv").write_text("image,mask\nreal.nii.gz,mask.nii.gz\n", "utf-8")
    arguments = [str(tmp_path / "maps"), *map(str, runs), "--participants", "one", "--heads", "2"]
    arguments += ["--pairs", str(tmp_path / "pairs.csv"), "--out"]
    synthetic.main([*arguments, str(tmp_path / "out")])
    cells = read_cells(capsys.readouterr().out)
    assert [row[0] for row in cells] == [str(run) for run in runs]
    table = pd.read_csv(tmp_path / "out/synthetic.tsv", sep="\t")
    assert len(table) == 2 * (2 * len(synthetic.KINDS) + 1)
    assert (table[table.network == str(runs[1])].dice < 0.01).all()
    always = table[table.network == str(runs[0])]
    real = always.kind == synthetic.REAL
    wanted = [always[real].dice.item(), always[~real].dice.mean(), always[~real].dice.min()]
    assert [float(cell) for cell in cells[0][-3:]] == pytest.approx(wanted, abs=1e-3)
    synthetic.main([*arguments, str(tmp_path / "again")])
    again = tmp_path / "again/synthetic.tsv"
    assert again.read_bytes() == (tmp_path / "out/synthetic.tsv").read_bytes()


# --- processes


def test_the_peak_of_a_command_is_its_own_and_not_that_of_the_benchmark(tmp_path):
    held = np.ones(40_000_000)  # 320 MB
    run = processes.measure([sys.executable, "-S", "-c", "raise SystemExit(3)"], tmp_path / "log")
    assert held.nbytes / 2**20 > 300
    assert 2 < run.peak_mb < 100
    assert run.code == 3
    assert run.wall > 0


# --- damage


def test_bias_has_its_ratio_within_the_brain():
    found = damaged_heads.add_bias(HEAD, 4.0, np.random.default_rng(0)).image[BRAIN]
    assert found.max() / found.min() == pytest.approx(4, rel=1e-3)


def test_noise_has_its_level():
    found = damaged_heads.add_noise(HEAD, 10, np.random.default_rng(0)).image
    assert found[BRAIN].std() == pytest.approx(10, rel=0.05)
    assert found[~BRAIN].mean() == pytest.approx(10 * np.sqrt(np.pi / 2), rel=0.05)


def test_a_turned_head_keeps_its_brain_and_truth_turns_with_it():
    for degrees in (30, 90):
        found = damaged_heads.scan_upright(damaged_heads.rotate(HEAD, (1, 2, -3), degrees))
        assert found.reference.sum() == pytest.approx(BRAIN.sum(), rel=0.02)
        np.testing.assert_array_equal(found.image >= 50, found.reference)
    assert not np.array_equal(found.reference[:40, :, :44], BRAIN)


def test_thick_slices_lie_where_the_thin_ones_lay():
    found = damaged_heads.thicken(HEAD, 8.0)
    assert found.grid.voxel_size == (4, 4, 8)
    np.testing.assert_allclose(found.grid.to_mm((0, 0, 0)), GRID.to_mm((0, 0, 0.5)))
    np.testing.assert_array_equal(found.image >= 50, found.reference)


@pytest.mark.parametrize("end", ["low", "high"])
def test_a_cut_field_takes_its_share_of_the_brain_and_of_the_truth(end):
    found = damaged_heads.cut_field(HEAD, axis=2, **{end: 0.5})
    assert found.reference.sum() == pytest.approx(BRAIN.sum() / 2, rel=0.06)
    assert found.image.shape == found.reference.shape == found.grid.shape
    centre = found.grid.to_mm(np.argwhere(found.reference).mean(axis=0))
    assert (centre[2] < 0) == (end == "high")


@pytest.mark.parametrize("way", quality.WAYS)
def test_image_and_truth_stay_together_and_the_head_given_as_it_is(way):
    before = HEAD.image.copy()
    found = quality.WAYS[way](HEAD, np.random.default_rng(0))
    np.testing.assert_array_equal(HEAD.image, before)
    assert found.image.dtype == np.float32
    assert found.image.shape == found.reference.shape == found.grid.shape
    inside, outside = found.image[found.reference], found.image[~found.reference]
    assert inside.mean() > 1.3 * outside.mean()


def test_a_lost_signal_is_still_brain_in_the_truth():
    found = damaged_heads.lose_signal(HEAD, 40, np.random.default_rng(0))
    np.testing.assert_array_equal(found.reference, BRAIN)
    assert 0 < (BRAIN & (found.image == 0)).sum() * GRID.voxel_volume < 36000  # 33.5 ml


def test_phantoms_have_no_brain():
    for head in phantoms.make_phantoms().values():
        assert head.image.shape == head.grid.shape
        assert not head.reference.any()


def test_every_corruption_is_run_at_every_level(heads, tmp_path, capsys):
    corruption.main([str(heads), "--out", str(tmp_path / "out"), "--count", "1"])
    cells = read_cells(capsys.readouterr().out)
    assert len(cells) == 4 * len(corruption.CORRUPTIONS)
    dice = {(row[0].split()[0], float(row[1])): float(row[2].split()[0]) for row in cells}
    assert dice["bias", 1] == dice["rotation", 0] == dice["share", 0.4] == 1.0
    assert dice["rotation", 90] > 0.9
    assert np.isnan(dice["noise", 0.2])  # a copy of a scan is no mask
    table = pd.read_csv(tmp_path / "out/corruption.tsv", sep="\t")
    assert len(table) == 1 + 3 * len(corruption.CORRUPTIONS)
    assert (tmp_path / "out/corruption.png").stat().st_size > 1000


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """Training that only counts: a step of `article` takes 6 s, one of ours 1 s."""
    pace, horizon = {"article": 6.0, "ours": 1.0}, 1000
    monkeypatch.setattr("recipes.read_step", lambda run: steps[run.name])
    steps = dict.fromkeys(pace, 0)

    def take_turn(options, name, recipe, *limits):
        options = dict(zip(limits[::2], limits[1::2], strict=True))
        most = int(options.get("--steps", horizon)) - steps[name]
        taken = min(most, round(float(options["--minutes"]) * 60 / pace[name]))
        steps[name] += taken
        return taken * pace[name], 0.0, 0.0

    monkeypatch.setattr("recipes.take_turn", take_turn)

    def train(**budget):
        options = Namespace(out=tmp_path, **({"steps": None, "minutes": None, "turn": 1} | budget))
        recipes.train_in_turns(options, {"article": "article", "ours": "segment"})
        return steps

    return train


def test_recipes_are_trained_for_as_many_steps_or_as_long(trainer):
    assert trainer(steps=25) == {"article": 25, "ours": 25}
    assert trainer(minutes=10) == {"article": 100, "ours": 600}


def test_a_recipe_whose_schedule_has_ended_is_left_alone(trainer):
    assert trainer(minutes=20) == {"article": 200, "ours": 1000}


def test_a_turn_that_left_no_row_is_counted_by_its_steps(trainer, tmp_path):
    trainer(minutes=3)
    turns = pd.read_csv(tmp_path / "turns.tsv", sep="\t")
    turns.drop(0).to_csv(tmp_path / "turns.tsv", sep="\t", index=False)
    assert trainer(minutes=5) == {"article": 50, "ours": 300}

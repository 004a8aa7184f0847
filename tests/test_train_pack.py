"""Packs: prepared heads in one file, which teach what the heads themselves teach."""

import json
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest

from ball import run
from conftest import make_head
from train_heads import TOY, make_label_map, write_toy_recipe

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.image.volume import load_volume, make_volume
from deskull.train.data import load_sources
from deskull.train.draws import Draws
from deskull.train.examples import make_example
from deskull.train.pack import STEP, load_pack
from deskull.train.pairs import make_real_head
from deskull.train.recipe import load_recipe, make_recipe
from deskull.train.sources import Sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A label map, two pairs with fixed parts, a recipe, and their pack."""
    folder = tmp_path_factory.mktemp("pack")
    (folder / "maps").mkdir()
    nib.save(make_label_map(size=60), folder / "maps" / "p0.nii.gz")
    rows = ["participant\timage\tmask\tpart"]
    for number, part in enumerate(("train", "validation")):
        image, brain = make_head(seed=number)
        nib.save(image, folder / f"q{number}.nii.gz")
        mask = nib.Nifti1Image(brain.astype(np.uint8), image.affine)
        nib.save(mask, folder / f"q{number}_mask.nii.gz")
        rows.append(f"q{number}\tq{number}.nii.gz\tq{number}_mask.nii.gz\t{part}")
    (folder / "pairs.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    write_toy_recipe(folder / "toy.toml", horizon=20, validate_every=5)
    options = ("--recipe", folder / "toy.toml", "-o", folder / "heads.npz")
    assert run("pack", folder / "maps", folder / "pairs.tsv", *options) == 0
    return folder


def load_both(folder):
    recipe = load_recipe(str(folder / "toy.toml"))
    given = load_sources([folder / "maps", folder / "pairs.tsv"], recipe)
    return recipe, given, load_sources([folder / "heads.npz"], recipe)


def test_a_pack_holds_the_heads_the_names_and_the_parts(folder):
    _, given, packed = load_both(folder)
    assert packed.participants == given.participants == ["p0", "q0", "q1"]
    assert packed.fixed == given.fixed == {"q0": "train", "q1": "validation"}
    assert [head.name for head in packed.real] == ["q0.nii.gz", "q1.nii.gz"]
    for one, other in zip(given.real, packed.real, strict=True):
        image, share = np.abs(one.channels.astype(np.float32) - other.channels)
        assert image[one.channels[0] < 255 * STEP].max() <= STEP / 2 + 1e-3
        assert share.max() <= 0.5 / 255 + 1e-3
        assert one.voxel_size == other.voxel_size
        np.testing.assert_array_equal(one.extent, other.extent)


def test_label_maps_teach_from_a_pack_exactly_what_they_teach_from_their_files(folder):
    recipe, given, packed = load_both(folder)
    for seed in range(5):
        one, other = (
            make_example(Sources(sources.labelled, []), recipe, Draws(seed))
            for sources in (given, packed)
        )
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.target, other.target)


def test_a_run_trains_on_a_pack_alone_and_beside_other_sources(folder, tmp_path):
    options = ("--recipe", folder / "toy.toml", "--steps", 2)
    assert run("train", folder / "heads.npz", *options, "-o", tmp_path / "alone") == 0
    split = json.loads((tmp_path / "alone" / "split.json").read_text("utf-8"))
    assert "q1" in split["validation"]
    (tmp_path / "more").mkdir()
    nib.save(make_label_map(size=61), tmp_path / "more" / "p1.nii.gz")
    both = (folder / "heads.npz", tmp_path / "more")
    assert run("train", *both, *options, "-o", tmp_path / "both") == 0
    assert "p1" in (tmp_path / "both" / "split.json").read_text("utf-8")


def test_the_command_says_what_is_in_the_pack(folder, tmp_path, capsys):
    out = tmp_path / "maps.npz"
    assert run("pack", folder / "maps", "-o", out) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{out}: 1 label maps and 0 pairs of 1 participants, 0.")


def test_label_maps_of_a_pack_fit_every_recipe(folder, tmp_path):
    assert run("pack", folder / "maps", "-o", tmp_path / "maps.npz") == 0
    assert len(load_pack(tmp_path / "maps.npz", load_recipe("article")).labelled) == 1


def test_scans_that_were_prepared_for_another_recipe_are_refused(folder, capsys):
    arguments = ("--recipe", "segment", "-o", folder / "run")
    assert run("train", folder / "heads.npz", *arguments) == 1
    error = capsys.readouterr().err
    assert "heads.npz: its scans were prepared for another recipe (window: " in error
    assert "Pack the heads again for this recipe, by this deskull." in error


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_pack_is_refused(folder, tmp_path, capsys, content):
    whole = (folder / "heads.npz").read_bytes()
    (tmp_path / "heads.npz").write_bytes(whole[:-2000] if content is None else content)
    arguments = ("--recipe", folder / "toy.toml", "-o", tmp_path / "run")
    assert run("train", tmp_path / "heads.npz", *arguments) == 1
    error = capsys.readouterr().err
    assert "heads.npz: not a readable pack of heads (File is not a zip file)" in error


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_byte_is_no_internal_error(folder, tmp_path, seed):
    whole = bytearray((folder / "heads.npz").read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(whole), 5):
        whole[place] ^= 1 << int(rng.integers(8))
    (tmp_path / "heads.npz").write_bytes(whole)
    with suppress(InputError):  # any other error is one of ours
        load_pack(tmp_path / "heads.npz", load_recipe(str(folder / "toy.toml")))


@pytest.mark.parametrize("change", [{"parts": {"q0": "other"}}, {"prepared_for": None}])
def test_a_pack_that_says_nonsense_is_refused(folder, tmp_path, change):
    with np.load(folder / "heads.npz") as archive:
        arrays = dict(archive)
    about = json.loads(arrays["about.json"].tobytes()) | change
    arrays["about.json"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(tmp_path / "heads.npz", **arrays)
    with pytest.raises(InputError, match="not a readable pack of heads"):
        load_pack(tmp_path / "heads.npz", load_recipe(str(folder / "toy.toml")))


def test_a_head_in_two_sources_is_named(folder, caplog):
    recipe = load_recipe(str(folder / "toy.toml"))
    load_sources([folder / "heads.npz", folder / "pairs.tsv"], recipe)
    assert "q0.nii.gz of participant q0 is in several sources" in caplog.text
    assert "label map" not in caplog.text


def test_an_archive_of_something_else_is_refused(folder, tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(InputError, match="not a readable pack of heads"):
        load_pack(tmp_path / "other.npz", load_recipe(str(folder / "toy.toml")))


def test_a_pack_that_is_missing_is_said_so(folder, tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_pack(tmp_path / "none.npz", load_recipe(str(folder / "toy.toml")))


def test_a_pack_ends_in_npz_and_replaces_no_source(folder, capsys):
    assert run("pack", folder / "maps", "-o", folder / "heads.zip") == 1
    assert ".npz" in capsys.readouterr().err
    before = (folder / "heads.npz").read_bytes()
    options = ("--recipe", folder / "toy.toml", "-o", folder / "heads.npz")
    assert run("pack", folder / "heads.npz", *options) == 1
    assert "it is an input" in capsys.readouterr().err
    assert (folder / "heads.npz").read_bytes() == before


def test_parts_that_differ_between_sources_are_refused(folder):
    text = (folder / "pairs.tsv").read_text("utf-8").replace("validation", "test")
    (folder / "other.tsv").write_text(text, "utf-8")
    recipe = load_recipe(str(folder / "toy.toml"))
    with pytest.raises(InputError, match="q1: part test in one table or pack, val"):
        load_sources([folder / "heads.npz", folder / "other.tsv"], recipe)


def test_upright_cubes_are_prepared_without_resampling(folder):
    """A head of 4 mm keeps its values: an example is resampled once, as in stripping."""
    scan = load_volume(folder / "q0.nii.gz")
    window = {"shape": [32, 32, 32], "voxel_size": "fit"}
    recipe = make_recipe({**TOY, "window": window}, "fitted")
    mask = load_volume(folder / "q0_mask.nii.gz")
    head = make_real_head(scan, mask, recipe)
    assert head.voxel_size == scan.grid.voxel_size[0] == 4.0
    values = np.unique(head.channels[0] * 1000 // 1)
    given = scan.data - np.percentile(scan.data, 0.5)
    assert len(values) <= len(np.unique(given)) + 1
    assert int((head.channels[1] > 0).sum()) == int((mask.data > 0).sum())


@pytest.mark.parametrize("border", [-0.8, 0.8])
def test_a_border_of_less_than_a_voxel_counts_with_hard_masks(folder, border):
    scan, mask = (load_volume(folder / f"q0{end}.nii.gz") for end in ("", "_mask"))
    settings = {**TOY, "window": {"shape": [32, 32, 32], "voxel_size": "fit"}}
    recipe = make_recipe({**settings, "preparation": {"soft_masks": False}}, "hard")
    plain, moved = (make_real_head(scan, mask, recipe, border=mm) for mm in (0.0, border))
    change = moved.channels[1].sum(dtype=np.float64) / plain.channels[1].sum(dtype=np.float64)
    assert (change - 1) * border > 0.01


def test_finer_and_turned_scans_are_resampled(folder):
    window = {"shape": [32, 32, 32], "voxel_size": "fit"}
    recipe = make_recipe({**TOY, "window": window}, "fitted")
    image, brain = make_head()
    turned = image.affine.copy()
    angle = np.deg2rad(5)
    turn = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    turned[:3, :3] = np.array(turn) @ turned[:3, :3]
    for affine in (turned, image.affine * [[0.25], [0.25], [0.25], [1]]):
        scan = make_volume(nib.Nifti1Image(image.get_fdata(), affine), "scan")
        mask = make_volume(nib.Nifti1Image(brain.astype(np.uint8), affine), "mask")
        assert make_real_head(scan, mask, recipe).voxel_size == 1.25

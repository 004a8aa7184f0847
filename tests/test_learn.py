"""Label maps to tissues, synthesis, and the training loop, at toy size."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conftest import make_head
from learn_heads import make_label_map

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from deskull.errors import InputError, WeightsError
from deskull.image.volume import make_volume
from deskull.learn.augment import AugmentSettings, blur, thicken
from deskull.learn.dataset import (
    STILL,
    Sources,
    load_sources,
    make_example,
    make_plain_examples,
    split_sources,
)
from deskull.learn.export import export
from deskull.learn.labels import load_label_table, make_labelled_head, tissue_codes
from deskull.learn.losses import dice_and_cross_entropy, hard_dice, soft_dice
from deskull.learn.pairs import make_channels
from deskull.learn.recipe import load_recipe, make_recipe
from deskull.learn.runs import load_released
from deskull.learn.synthesis import synthesise
from deskull.learn.training import Limits, learning_rate, train
from deskull.network.engine import make_engine
from deskull.network.weights import load_weights

ABOUT = {"licence": "Apache-2.0", "population": "balls", "convention": "closed", "data": "none"}


@pytest.fixture(scope="module")
def labelled():
    return make_labelled_head(make_volume(make_label_map()), block=2)


@pytest.fixture(scope="module")
def recipe():
    return make_recipe(
        {
            "window": {"shape": [16, 16, 16], "voxel_size": 12.0},
            "network": {"outputs": ["brain", "tissue"], "filters": [4, 8], "patch": 2},
            "training": {
                "horizon": 100,
                "warmup": 2,
                "learning_rate": 5e-3,
                "ema": 0.9,
                "validate_every": 2,
            },
            "augment": {"shift": 5, "rotation": 5},
        },
        name="toy",
    )


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_brain_closes_over_sulci_and_leaves_outer_csf_out(labelled):
    codes = tissue_codes()
    brain = np.repeat(np.repeat(np.repeat(labelled.fractions[0], 2, 0), 2, 1), 2, 2) > 0.5
    tissue = labelled.tissue
    voxels = np.argwhere(tissue > 0) * 3.0
    radius = np.linalg.norm(voxels - labelled.centre * 3.0, axis=1)
    inside = brain[tissue > 0]
    assert inside[radius < 60].all()
    assert not inside[radius > 74].any()
    sulcus = (tissue[tissue > 0] == codes["csf"]) & (radius < 62)
    assert sulcus.any()
    assert inside[sulcus].all()


def test_tissue_leaves_the_sulcus_out_and_keeps_the_ventricle(labelled):
    brain, tissue = labelled.fractions.sum((1, 2, 3))
    assert tissue < brain
    middle = tuple(int(c) // 2 for c in labelled.centre)
    assert labelled.fractions[1][middle] == 1


def test_dura_lies_between_csf_and_skull(labelled):
    codes = tissue_codes()
    dura = labelled.tissue == codes["dura"]
    radius = np.linalg.norm((np.argwhere(dura) - labelled.centre) * 3.0, axis=1)
    assert 70 < radius.mean() < 80


def test_a_map_without_a_brain_is_refused():
    image = make_label_map()
    labels = np.where(np.asarray(image.dataobj) == 258, 258, 0).astype(np.int16)
    with pytest.raises(InputError, match="no brain label"):
        make_labelled_head(make_volume(nib.Nifti1Image(labels, image.affine)), block=2)


def test_the_truth_stays_on_the_image(labelled):
    example = synthesise(labelled, (32, 32, 32), 6.0, STILL, draw(), contrast="T1w")
    grid = np.stack(np.meshgrid(*[(np.arange(32) - 15.5) * 6.0] * 3, indexing="ij"), -1)
    radius = np.linalg.norm(grid, axis=-1)
    target = example.target[0].numpy()
    assert target[radius < 60].min() > 0.9
    assert target[radius > 76].max() < 0.1


def test_the_same_seed_gives_the_same_head_and_another_another(labelled):
    settings = AugmentSettings()
    first = synthesise(labelled, (16, 16, 16), 12.0, settings, draw(1))
    again = synthesise(labelled, (16, 16, 16), 12.0, settings, draw(1))
    other = synthesise(labelled, (16, 16, 16), 12.0, settings, draw(2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize("seed", range(12))
def test_every_head_is_finite_not_negative_and_has_a_brain(labelled, seed):
    example = synthesise(labelled, (16, 16, 16), 12.0, AugmentSettings(), draw(seed))
    assert torch.isfinite(example.image).all()
    assert example.image.min() >= 0
    assert example.image.std() > 0
    assert ((example.target >= 0) & (example.target <= 1)).all()
    assert example.target[0].sum() > 20


def test_blur_keeps_the_sum_and_spreads_by_its_sigma():
    point = torch.zeros(31, 31, 31)
    point[15, 15, 15] = 1
    soft = blur(point, 2.0)
    line = torch.arange(31) - 15
    assert soft.sum() == pytest.approx(1, abs=1e-4)
    variance = (soft.sum((1, 2)) * line**2).sum()
    assert variance == pytest.approx(4, rel=0.2)


def test_thick_slices_keep_the_mean():
    image = torch.rand(24, 24, 24)
    assert thicken(image, 1.0, draw()).mean() == pytest.approx(float(image.mean()), abs=0.02)


def test_losses_have_their_known_values():
    target = torch.zeros(1, 2, 4, 4, 4)
    target[:, :, :2] = 1
    sure = 40 * (target - 0.5)
    known = torch.tensor([[1.0, 0.0]])
    assert dice_and_cross_entropy(sure, target, known) == pytest.approx(0, abs=1e-4)
    wrong = sure.clone()
    wrong[:, 1] *= -1  # an output that is not known does not count
    assert dice_and_cross_entropy(wrong, target, known) == pytest.approx(0, abs=1e-4)
    half = torch.full_like(target, 0.5)
    assert soft_dice(half, target)[0, 0] == pytest.approx((2 * 16 + 1) / (16 + 32 + 1))
    assert hard_dice(torch.ones_like(target), target)[0, 0] == pytest.approx(65 / 97)


def test_learning_rate_warms_up_and_falls_to_a_hundredth(recipe):
    highest = recipe.training.learning_rate
    assert learning_rate(0, recipe) == pytest.approx(highest / 2, rel=1e-3)
    assert learning_rate(100, recipe) == pytest.approx(highest / 100)
    assert learning_rate(50, recipe) == pytest.approx(highest * (0.01 + 0.99 / 2))


def test_interrupted_and_resumed_is_uninterrupted(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    for folder, stops in (("whole", [6]), ("parts", [2, 3, 6])):
        for steps in stops:
            train(sources, recipe, tmp_path / folder, limits=Limits(steps), validation=sources)
    for name in ("last.safetensors", "best.safetensors"):
        whole, parts = tmp_path / "whole" / name, tmp_path / "parts" / name
        assert whole.read_bytes() == parts.read_bytes()


def test_another_recipe_does_not_go_on_in_the_same_folder(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(1))
    with pytest.raises(InputError, match="another recipe"):
        train(sources, load_recipe("locate"), tmp_path, limits=Limits(1))


def test_one_head_can_be_learnt_by_heart_and_released(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path / "run", limits=Limits(60))
    card = export({"segment": tmp_path / "run"}, tmp_path / "mine", ABOUT)
    assert json.loads(card.read_text("utf-8"))["stages"]["segment"]["steps"] == 60
    stage = load_weights(tmp_path / "mine").segment
    example = make_example(sources, recipe, draw(5))
    answers = [
        make_engine(stage, "cpu", 1, runtime)(example.image.numpy())
        for runtime in ("openvino", "onnxruntime", "torch")
    ]
    dice = hard_dice(torch.from_numpy(answers[0])[None, :1], example.target[None, :1])
    assert dice > 0.8
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=0.2)


def test_pairs_come_from_a_table_beside_label_maps(recipe, tmp_path):
    image, brain = make_head()
    nib.save(image, tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), image.affine), tmp_path / "a_mask.nii.gz")
    (tmp_path / "pairs.tsv").write_text("image\tmask\na.nii.gz\ta_mask.nii.gz\n", "utf-8")
    (tmp_path / "maps").mkdir()
    nib.save(make_label_map(), tmp_path / "maps" / "b.nii.gz")
    sources = load_sources([tmp_path / "pairs.tsv", tmp_path / "maps"], recipe)
    assert (len(sources.real), len(sources.labelled)) == (1, 1)
    example = make_example(Sources([], sources.real), recipe, draw())
    assert example.known.tolist() == [1, 0]
    inside = example.target[0] > 0.9
    assert inside.any()
    assert example.image[inside].mean() > 0


@pytest.mark.parametrize(
    ("content", "words"),
    [("image\nx.nii\n", "no column"), (None, "no label map and no pair")],
)
def test_sources_that_hold_nothing_are_refused(recipe, tmp_path, content, words):
    path = tmp_path
    if content:
        path = tmp_path / "pairs.tsv"
        path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=words):
        load_sources([path], recipe)


def test_a_source_of_another_kind_is_refused(recipe, tmp_path):
    with pytest.raises(InputError, match="neither a folder"):
        load_sources([tmp_path / "x.json"], recipe)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such recipe"),
        ("x = ", "not a recipe"),
        (
            "[window]\nshape = [9, 9, 9]\nvoxel_size = 2.0\n[network]\n[training]\nhorizon = 1",
            "not divisible by 8",
        ),
        (
            "[window]\nshape = [8, 8, 8]\nvoxel_size = 2.0\n[network]\nlayers = 3\n[training]\n"
            "horizon = 1",
            "layers",
        ),
    ],
)
def test_bad_recipes_are_refused(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    if text:
        path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=words):
        load_recipe(str(path))


def test_bundled_recipes_load():
    assert load_recipe("segment").network.outputs == ("brain", "tissue")
    assert load_recipe("locate").window.voxel_size == 4.0


def test_a_folder_without_a_run_cannot_be_released(tmp_path):
    with pytest.raises(WeightsError, match=r"no last\.safetensors"):
        export({"segment": tmp_path}, tmp_path / "out", ABOUT)


def test_the_best_weights_on_the_persons_kept_apart_are_released(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(8), validation=sources)
    table = pd.read_csv(tmp_path / "validation.tsv", sep="\t")
    assert table["step"].tolist() == [2, 4, 6, 8]
    best = table.loc[table["loss"].idxmin(), "step"]
    assert load_released(tmp_path)[2] == best
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert len(list((tmp_path / "pictures").iterdir())) == 4


def test_rows_written_after_the_last_checkpoint_are_forgotten(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(4), validation=sources)
    with (tmp_path / "validation.tsv").open("a", encoding="utf-8") as file:
        file.write("900\t0\t1\t1\n")
    train(sources, recipe, tmp_path, limits=Limits(6), validation=sources)
    table = pd.read_csv(tmp_path / "validation.tsv", sep="\t")
    assert table["step"].tolist() == [2, 4, 6]


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(2))
    before = (tmp_path / "last.safetensors").read_bytes()
    broken = replace(labelled, fractions=labelled.fractions * np.float32(np.nan))
    with pytest.raises(WeightsError, match="the loss became nan at step 2"):
        train(Sources([broken], []), recipe, tmp_path, limits=Limits(4))
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_no_person_is_on_both_sides_of_a_split(labelled):
    heads = [replace(labelled, person=f"p{number // 2}") for number in range(10)]
    train_part, validation = split_sources(Sources(heads, []), 0.2, seed=1)
    assert (len(train_part.persons), len(validation.persons)) == (4, 1)
    assert not set(train_part.persons) & set(validation.persons)
    assert len(train_part.labelled) + len(validation.labelled) == 10


def test_examples_for_validation_are_always_the_same(labelled, recipe):
    first, again = (make_plain_examples(Sources([labelled], []), recipe)[0] for _ in range(2))
    assert torch.equal(first.image, again.image)


def test_prepared_heads_are_kept_and_found_again(recipe, tmp_path):
    (tmp_path / "maps").mkdir()
    nib.save(make_label_map(), tmp_path / "maps" / "b.nii.gz")
    first = load_sources([tmp_path / "maps"], recipe, tmp_path / "cache")
    kept = list((tmp_path / "cache").iterdir())
    assert len(kept) == 1
    made = kept[0].stat().st_mtime_ns
    again = load_sources([tmp_path / "maps"], recipe, tmp_path / "cache")
    assert kept[0].stat().st_mtime_ns == made
    np.testing.assert_array_equal(first.labelled[0].tissue, again.labelled[0].tissue)


def test_a_damaged_cache_is_made_again(recipe, tmp_path):
    (tmp_path / "maps").mkdir()
    nib.save(make_label_map(), tmp_path / "maps" / "b.nii.gz")
    first = load_sources([tmp_path / "maps"], recipe, tmp_path / "cache")
    next((tmp_path / "cache").iterdir()).write_bytes(b"half")
    again = load_sources([tmp_path / "maps"], recipe, tmp_path / "cache")
    np.testing.assert_array_equal(first.labelled[0].tissue, again.labelled[0].tissue)


def test_a_broken_head_is_left_out_by_name(recipe, tmp_path, caplog):
    (tmp_path / "maps").mkdir()
    nib.save(make_label_map(), tmp_path / "maps" / "good.nii.gz")
    (tmp_path / "maps" / "bad.nii.gz").write_bytes(b"no image")
    sources = load_sources([tmp_path / "maps"], recipe)
    assert sources.persons == ["good"]
    assert "bad.nii.gz" in caplog.text


def test_the_published_recipe_prepares_a_pair_as_published(tmp_path):
    image, brain = make_head()
    recipe = load_recipe("article")
    small = replace(recipe, window=replace(recipe.window, shape=(48, 64, 80), voxel_size=4.0))
    channels = make_channels(
        make_volume(image),
        make_volume(nib.Nifti1Image(brain.astype(np.uint8), image.affine)),
        replace(small, preparation=replace(small.preparation, n4=None)),
    )
    assert channels.shape == (2, 48, 64, 80)
    assert set(np.unique(channels[1])) == {0, 1}
    volume = brain.sum()  # 4 mm voxels on both sides
    assert channels[1].sum() == pytest.approx(volume, rel=0.01)


def test_two_processes_share_a_batch_and_give_the_weights_of_one(tmp_path):
    program = Path(__file__).with_name("two_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, program, tmp_path / "one"], check=True, env=environment)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
    ]
    subprocess.run(
        [*torchrun, program, tmp_path / "two"], check=True, env=environment, capture_output=True
    )
    one = load_released(tmp_path / "one")[1].state_dict()
    two = load_released(tmp_path / "two")[1].state_dict()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)


def test_labels_of_ones_own_are_read_by_a_table(labelled, tmp_path):
    image = make_label_map()
    own = {258: 9, 165: 8, 24: 7, 3: 6, 2: 5, 4: 4}
    labels = np.asarray(image.dataobj)
    renamed = np.zeros_like(labels)
    for theirs, ours in own.items():
        renamed[labels == theirs] = ours
    (tmp_path / "own.toml").write_text(
        "[labels]\nsoft = [9]\nbone = [8]\ncsf = [7]\ncortex = [6]\nwhite_matter = [5]\n"
        "ventricle = [4]\n",
        "utf-8",
    )
    volume = make_volume(nib.Nifti1Image(renamed, image.affine))
    head = make_labelled_head(volume, 2, load_label_table(tmp_path / "own.toml"))
    np.testing.assert_array_equal(head.tissue, labelled.tissue)
    np.testing.assert_array_equal(head.fractions, labelled.fractions)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "not a table of labels"),
        ("[labels]\ncortex = 3", "not a table of labels"),
        ("[labels]\nspleen = [3]", "unknown tissues"),
        ("[labels]", "unknown tissues"),
    ],
)
def test_bad_label_tables_are_refused(tmp_path, text, words):
    (tmp_path / "own.toml").write_text(text, "utf-8")
    with pytest.raises(InputError, match=words):
        load_label_table(tmp_path / "own.toml")


def test_a_label_map_of_flat_voxels_is_refused():
    image = make_label_map(size=32, voxel_size=6.0)
    flat = nib.Nifti1Image(np.asarray(image.dataobj), np.diag([6.0, 6.0, 3.0, 1.0]))
    with pytest.raises(InputError, match="the same along all axes"):
        make_labelled_head(make_volume(flat), block=2)

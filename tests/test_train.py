"""Label maps to tissues, synthesis, and the training loop, at toy size."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from conftest import make_head
from train_heads import labelled, make_label_map, recipe

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

from deskull.errors import InputError, OutputError, WeightsError
from deskull.image.volume import make_volume
from deskull.network.engine import make_engine
from deskull.network.weights import load_weights
from deskull.train.data import describe_file, load_sources
from deskull.train.draws import Draws
from deskull.train.examples import make_example, make_plain_examples
from deskull.train.export import export
from deskull.train.labels import load_label_table, load_tissues, make_labelled_head, tissue_codes
from deskull.train.loop import Limits, train
from deskull.train.losses import hard_dice
from deskull.train.pairs import make_real_head
from deskull.train.recipe import NO_AUGMENTATION, load_recipe
from deskull.train.sources import Sources
from deskull.train.split import SplitPlan, draw_split

__all__ = ["labelled", "recipe"]

ABOUT = {"licence": "Apache-2.0", "population": "balls", "convention": "closed", "data": "none"}


def draw(seed=0):
    return Draws(seed)


def test_the_brain_closes_over_sulci_and_leaves_outer_csf_out(labelled):
    codes = tissue_codes()
    brain = labelled.truth[0] > 0
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
    brain, tissue = labelled.truth.sum((1, 2, 3), dtype=int)
    assert tissue < brain
    middle = tuple(int(c) for c in labelled.centre)
    assert labelled.truth[1][middle] == 1


def test_dura_lies_between_csf_and_skull(labelled):
    codes = tissue_codes()
    dura = labelled.tissue == codes["dura"]
    radius = np.linalg.norm((np.argwhere(dura) - labelled.centre) * 3.0, axis=1)
    assert 70 < radius.mean() < 80


def test_a_map_without_a_brain_is_refused():
    image = make_label_map()
    labels = np.where(np.asarray(image.dataobj) == 258, 258, 0).astype(np.int16)
    with pytest.raises(InputError, match="no brain label"):
        make_labelled_head(make_volume(nib.Nifti1Image(labels, image.affine)))


def test_training_overfits_one_head_and_releases_the_weights(labelled, recipe, tmp_path):
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
    overlap = hard_dice(torch.from_numpy(answers[0])[None, :1], example.target[None, :1])
    assert overlap > 0.8
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
    ("content", "message"),
    [("image\nx.nii\n", "no column"), (None, "no label map and no pair")],
)
def test_sources_that_hold_nothing_are_refused(recipe, tmp_path, content, message):
    path = tmp_path
    if content:
        path = tmp_path / "pairs.tsv"
        path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=message):
        load_sources([path], recipe)


def test_a_source_of_another_kind_is_refused(recipe, tmp_path):
    with pytest.raises(InputError, match="expected a folder of label maps"):
        load_sources([tmp_path / "x.json"], recipe)


def look(sources, recipe):
    """The plain example of the first head."""
    return next(make_plain_examples(sources, recipe))[1]


def test_outputs_are_chosen_by_name(labelled, recipe):
    spec = replace(recipe.network, outputs=("brain",))
    sources = Sources([labelled], [])
    alone = look(sources, replace(recipe, network=spec))
    assert torch.equal(alone.target, look(sources, recipe).target[:1])


def test_a_scan_among_label_maps_is_left_out_by_name(recipe, tmp_path, caplog):
    nib.save(make_label_map(), tmp_path / "sub-01_labels.nii.gz")
    nib.save(make_head()[0], tmp_path / "sub-02_T1w.nii.gz")
    assert load_sources([tmp_path], recipe).participants == ["sub-01"]
    assert "sub-02_T1w.nii.gz: a scan, not a label map" in caplog.text


def test_a_file_that_is_gone_is_left_out_by_name(recipe, tmp_path, caplog):
    nib.save(make_label_map(), tmp_path / "here.nii.gz")
    (tmp_path / "table.tsv").write_text("label_map\nhere.nii.gz\ngone.nii.gz\n", "utf-8")
    sources = load_sources([tmp_path / "table.tsv"], recipe, tmp_path / "cache")
    assert sources.participants == ["here"]
    assert "gone.nii.gz: cannot be read" in caplog.text


def test_a_label_map_with_nan_is_refused():
    image = make_label_map()
    labels = np.asarray(image.dataobj).astype(np.float32)
    labels[0, 0, :7] = np.nan
    with pytest.raises(InputError, match="7 voxels are NaN"):
        make_labelled_head(make_volume(nib.Nifti1Image(labels, image.affine)))


def test_another_label_table_makes_another_cached_head(recipe, tmp_path):
    nib.save(make_label_map(), tmp_path / "b.nii.gz")
    table = load_tissues()["labels"]
    other = {name: codes for name, codes in table.items() if name != "ventricle"}
    for labels in (None, table, other):
        load_sources([tmp_path], recipe, tmp_path / "cache", labels)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_both_files_of_a_pair_are_part_of_the_cache_key(tmp_path):
    nib.save(nib.Nifti1Pair(np.zeros((2, 2, 2)), np.eye(4)), tmp_path / "a.img")
    assert len(describe_file(tmp_path / "a.hdr")) == 2


def test_a_cache_that_cannot_be_written_is_an_error(recipe, tmp_path):
    nib.save(make_label_map(), tmp_path / "b.nii.gz")
    with pytest.raises(OutputError, match="cannot be made"):
        load_sources([tmp_path], recipe, tmp_path / "b.nii.gz" / "cache")


def test_a_folder_without_a_run_cannot_be_released(tmp_path):
    with pytest.raises(WeightsError, match=r"no last\.safetensors"):
        export({"segment": tmp_path}, tmp_path / "out", ABOUT)


def test_no_participant_is_on_both_sides_of_a_split(labelled):
    heads = [replace(labelled, participant=f"p{number // 2}") for number in range(10)]
    sources = Sources(heads, [])
    parts = draw_split(sources, SplitPlan(0.2), seed=1)
    held_out = sources.select({p for p in parts if parts[p] == "validation"})
    assert sorted(parts.values()) == ["train"] * 4 + ["validation"]
    assert (len(held_out.participants), len(held_out.labelled)) == (1, 2)


def test_examples_for_validation_are_always_the_same(labelled, recipe):
    first, again = (look(Sources([labelled], []), recipe) for _ in range(2))
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


def test_cached_heads_are_mapped_and_changes_to_them_are_not_saved(recipe, tmp_path):
    nib.save(make_label_map(), tmp_path / "b.nii.gz")
    for _ in range(2):
        head = load_sources([tmp_path], recipe, tmp_path / "cache").labelled[0]
        assert isinstance(head.tissue, np.memmap)
        assert head.tissue.max() > 0
        head.tissue[:] = 0


def test_participants_are_drawn_equally_often_however_many_heads_they_have(labelled, recipe):
    many = [replace(labelled, participant="a") for _ in range(9)]
    one = replace(labelled, participant="b", tissue=np.zeros_like(labelled.tissue))
    still = replace(recipe, augment=NO_AUGMENTATION)
    examples = [make_example(Sources([*many, one], []), still, draw(n)) for n in range(40)]
    empty = sum(not example.image.any() for example in examples)
    assert 10 <= empty <= 30


@pytest.mark.parametrize("size", [4, 400])
def test_a_damaged_cache_is_made_again(recipe, tmp_path, size):
    (tmp_path / "maps").mkdir()
    nib.save(make_label_map(), tmp_path / "maps" / "b.nii.gz")
    first = load_sources([tmp_path / "maps"], recipe, tmp_path / "cache")
    kept = next((tmp_path / "cache").glob("*/tissue.npy"))
    content = kept.read_bytes()
    kept.unlink()  # the first head still sees its own
    kept.write_bytes(content[:size])
    again = load_sources([tmp_path / "maps"], recipe, tmp_path / "cache")
    np.testing.assert_array_equal(first.labelled[0].tissue, again.labelled[0].tissue)


def test_a_broken_head_is_left_out_by_name(recipe, tmp_path, caplog):
    (tmp_path / "maps").mkdir()
    nib.save(make_label_map(), tmp_path / "maps" / "good.nii.gz")
    (tmp_path / "maps" / "bad.nii.gz").write_bytes(b"no image")
    sources = load_sources([tmp_path / "maps"], recipe)
    assert sources.participants == ["good"]
    assert "bad.nii.gz" in caplog.text


def test_the_published_recipe_prepares_a_pair_as_published(tmp_path):
    image, brain = make_head()
    recipe = load_recipe("article")
    small = replace(recipe, window=replace(recipe.window, shape=(48, 64, 80), voxel_size=4.0))
    head = make_real_head(
        make_volume(image),
        make_volume(nib.Nifti1Image(brain.astype(np.uint8), image.affine)),
        replace(small, preparation=replace(small.preparation, n4=None)),
    )
    channels = head.channels
    assert channels.shape == (2, 48, 64, 80)
    assert head.voxel_size == 4.0
    assert set(np.unique(channels[1])) == {0, 1}
    volume = brain.sum()  # 4 mm voxels on both sides
    assert channels[1].sum() == pytest.approx(volume, rel=0.01)


def test_a_label_table_gives_other_labels(labelled, tmp_path):
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
    head = make_labelled_head(volume, load_label_table(tmp_path / "own.toml"))
    np.testing.assert_array_equal(head.tissue, labelled.tissue)
    np.testing.assert_array_equal(head.truth, labelled.truth)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "not a table of labels"),
        ("[labels]\ncortex = 3", "not a table of labels"),
        ("[labels]\nspleen = [3]", "unknown tissues"),
        ("[labels]", "unknown tissues"),
        ("[labels]\ncortex = []", "cortex"),
        ("[labels]\ncortex = [-3]", "cortex"),
    ],
)
def test_bad_label_tables_are_refused(tmp_path, text, message):
    (tmp_path / "own.toml").write_text(text, "utf-8")
    with pytest.raises(InputError, match=message):
        load_label_table(tmp_path / "own.toml")


def test_a_label_map_of_flat_voxels_is_refused():
    image = make_label_map(size=32, voxel_size=6.0)
    flat = nib.Nifti1Image(np.asarray(image.dataobj), np.diag([6.0, 6.0, 3.0, 1.0]))
    with pytest.raises(InputError, match="the same along all axes"):
        make_labelled_head(make_volume(flat))

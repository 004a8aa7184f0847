"""The training loop and its folder: interrupted, resumed and broken, at toy size."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from train_heads import labelled, recipe

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from safetensors.torch import load_file, save_file

from deskull.errors import InputError, WeightsError
from deskull.network.unet import UNet
from deskull.train import checkpoint, loop
from deskull.train.loop import Limits, Start, learning_rate, train
from deskull.train.recipe import load_recipe
from deskull.train.run_folder import Run, enable_tensorboard, find_kept, load_released
from deskull.train.sources import Sources

__all__ = ["labelled", "recipe"]

CHECKPOINT = ("last.safetensors", "optimiser_6.safetensors")
CHECKPOINT_AT_2 = "optimiser_2.safetensors"


def test_interrupted_and_resumed_is_uninterrupted(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    for folder, stops in (("whole", [6]), ("parts", [2, 4, 6]), ("odd", [2, 3, 6])):
        for steps in stops:
            train(sources, recipe, tmp_path / folder, limits=Limits(steps), validation=sources)
    whole = tmp_path / "whole"
    for folder in ("parts", "odd"):
        for file in (*CHECKPOINT, "best.safetensors", "validation.tsv"):
            assert (whole / file).read_bytes() == (tmp_path / folder / file).read_bytes()
    assert [path.name for path in whole.glob("optimiser_*")] == [CHECKPOINT[1]]


def test_a_run_killed_between_the_two_files_of_a_checkpoint_goes_on(
    labelled, recipe, tmp_path, monkeypatch
):
    sources = Sources([labelled], [])
    for folder in ("whole", "killed"):
        train(sources, recipe, tmp_path / folder, limits=Limits(2))
    train(sources, recipe, tmp_path / "whole", limits=Limits(6))
    save = checkpoint.save_bytes

    def save_all_but_last(content, path):
        if path.name == "last.safetensors":
            raise KeyboardInterrupt
        save(content, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_bytes", save_all_but_last)
        with pytest.raises(KeyboardInterrupt):
            train(sources, recipe, tmp_path / "killed", limits=Limits(4))
    assert len([*(tmp_path / "killed").glob("optimiser_*")]) == 2
    train(sources, recipe, tmp_path / "killed", limits=Limits(6))
    for file in CHECKPOINT:
        whole, killed = ((tmp_path / name / file).read_bytes() for name in ("whole", "killed"))
        assert whole == killed


def test_an_older_run_that_was_saved_before_its_first_step_goes_on(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(0))
    (tmp_path / "optimiser_0.safetensors").unlink()
    train(sources, recipe, tmp_path, limits=Limits(1))
    assert load_released(tmp_path)[2] == 1


def test_a_checkpoint_in_one_file_as_older_runs_have_it_goes_on(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    for folder in ("new", "old"):
        train(sources, recipe, tmp_path / folder, limits=Limits(2))
    last, moments = tmp_path / "old" / "last.safetensors", tmp_path / "old" / CHECKPOINT_AT_2
    tensors = load_file(last) | {f"optimiser.{k}": v for k, v in load_file(moments).items()}
    save_file(tensors, last, {"step": "2"})
    moments.unlink()
    for folder in ("new", "old"):
        train(sources, recipe, tmp_path / folder, limits=Limits(6))
    new, old = ((tmp_path / name / CHECKPOINT[0]).read_bytes() for name in ("new", "old"))
    assert new == old


def test_moments_of_another_file_are_refused(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(2))
    (tmp_path / CHECKPOINT_AT_2).write_bytes((tmp_path / "last.safetensors").read_bytes())
    with pytest.raises(WeightsError, match="the optimiser's moments of step 2 are not of this"):
        train(sources, recipe, tmp_path, limits=Limits(4))


def test_a_checkpoint_without_its_moments_is_refused(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(2))
    (tmp_path / CHECKPOINT_AT_2).unlink()
    with pytest.raises(
        WeightsError, match=r"optimiser_2\.safetensors: .* another run with --start"
    ):
        train(sources, recipe, tmp_path, limits=Limits(4))


@pytest.mark.parametrize(
    ("stops", "horizon", "validated"),
    [((3, 5), 100, [2, 4]), ((1, 1, 3, 5), 100, [1, 2, 4]), ((3, 4, 5), 5, [2, 4, 5])],
)
def test_a_call_validates_at_its_end_if_nothing_else_did(
    labelled, recipe, tmp_path, stops, horizon, validated
):
    sources = Sources([labelled], [])
    short = replace(recipe, training=replace(recipe.training, horizon=horizon))
    for steps in stops:
        train(sources, short, tmp_path, limits=Limits(steps), validation=sources)
    table = pd.read_csv(tmp_path / "validation.tsv", sep="\t")
    assert table["step"].tolist() == validated


def test_a_lost_best_is_replaced_by_the_next_validation(labelled, recipe, tmp_path):
    run = Run(tmp_path, recipe)
    state = run.begin(None, "cpu")
    for step, loss in enumerate((0.1, 0.5, 0.4, 0.45)):
        state.step = step
        run.save(state)
        if step == 1:
            (tmp_path / "best.safetensors").write_bytes(b"damaged")
            with pytest.raises(WeightsError, match="remove it to release the last running mean"):
                load_released(tmp_path)
        run.log_validation(state, loss, 0.5, 0.4)
        assert load_released(tmp_path)[2] == min(step, 2)
        assert find_kept(tmp_path, recipe)["step"] == min(step, 2)


def test_a_run_without_a_checkpoint_begins_anew(labelled, recipe, tmp_path):
    run = Run(tmp_path, recipe)
    state = run.begin(None, "cpu")
    run.log_validation(state, 0.1, 0.5, 0.4)
    again = run.begin(None, "cpu")
    assert run.list_validated() == []
    run.log_validation(again, 0.5, 0.5, 0.4)
    assert run.list_validated() == [0]


def test_a_short_run_has_a_curve_of_every_step(labelled, recipe, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []

    def note(self, target, **options):
        drawn[:] = [
            (line.get_label(), line.get_xdata().tolist())
            for axis in self.axes
            for line in axis.lines
        ]

    sources = Sources([labelled], [])
    monkeypatch.setattr(Figure, "savefig", note)
    train(sources, recipe, tmp_path / "alone", limits=Limits(1))
    assert ("training loss", [1]) in drawn
    train(sources, recipe, tmp_path / "both", limits=Limits(6), validation=sources)
    assert {("training dice", (1, 2, 3, 4, 5, 6)), ("validation loss", (2, 4, 6))} <= {
        (label, tuple(steps)) for label, steps in drawn
    }


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_what_a_run_writes_has_the_permissions_of_any_new_file(labelled, recipe, tmp_path, umask):
    before = os.umask(umask)
    try:
        sources = Sources([labelled], [])
        train(sources, recipe, tmp_path / "run", limits=Limits(2), validation=sources)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".safetensors", ".json", ".tsv", ".png"}
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {oct(0o666 & ~umask)}


def test_another_recipe_does_not_go_on_in_the_same_folder(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(1))
    with pytest.raises(InputError, match="another recipe"):
        train(sources, load_recipe("locate"), tmp_path, limits=Limits(1))


def test_the_best_weights_on_the_participants_held_out_are_released(labelled, recipe, tmp_path):
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


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(
    labelled, recipe, tmp_path, monkeypatch
):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(2))
    before = (tmp_path / "last.safetensors").read_bytes()
    name = recipe.training.loss
    monkeypatch.setitem(loop.LOSSES, name, lambda logits, *rest: logits.sum() * np.nan)
    with pytest.raises(WeightsError, match="the loss became nan at step 2"):
        train(sources, recipe, tmp_path, limits=Limits(4))
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_learning_rate_warms_up_and_falls_to_a_hundredth(recipe):
    highest = recipe.training.learning_rate
    assert learning_rate(0, recipe) == pytest.approx(highest / 2, rel=1e-3)
    assert learning_rate(100, recipe) == pytest.approx(highest / 100)
    assert learning_rate(50, recipe) == pytest.approx(highest * (0.01 + 0.99 / 2))


def read_last(folder):
    return (folder / "last.safetensors").read_bytes()


def test_dropout_and_batch_norm_resume_as_if_uninterrupted(labelled, recipe, tmp_path):
    spec = replace(recipe.network, norm="batch", dropout=0.3)
    fields = replace(recipe.training, loss="dice", schedule="constant", optimiser="adam")
    article = replace(recipe, network=spec, training=fields)
    sources = Sources([labelled], [])
    for folder, stops in (("whole", [4]), ("parts", [1, 4])):
        for steps in stops:
            torch.manual_seed(steps)  # whatever anyone else draws
            train(sources, article, tmp_path / folder, limits=Limits(steps))
    assert read_last(tmp_path / "whole") == read_last(tmp_path / "parts")
    assert learning_rate(50, article) == fields.learning_rate


def test_training_leaves_the_global_generator_alone(labelled, recipe, tmp_path):
    before = torch.get_rng_state()
    train(Sources([labelled], []), recipe, tmp_path, limits=Limits(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_is_ended_before_an_interrupt(labelled, recipe, tmp_path, monkeypatch, number):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path / "whole", limits=Limits(3))
    handler = signal.getsignal(number)

    def move_mean(*arguments):
        signal.raise_signal(number)  # weights have moved, their mean has not
        real(*arguments)

    real = loop._move_mean
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_move_mean", move_mean)
        with pytest.raises(KeyboardInterrupt):
            train(sources, recipe, tmp_path / "parts", limits=Limits(3))
    assert signal.getsignal(number) == handler
    train(sources, recipe, tmp_path / "parts", limits=Limits(3))
    assert read_last(tmp_path / "whole") == read_last(tmp_path / "parts")


def test_a_second_interrupt_does_not_wait(labelled, recipe, tmp_path, monkeypatch):
    sources = Sources([labelled], [])

    def move_mean(*arguments):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "_move_mean", move_mean)
    with pytest.raises(KeyboardInterrupt):
        train(sources, recipe, tmp_path, limits=Limits(3))
    assert not (tmp_path / "last.safetensors").exists()


def test_zero_steps_change_nothing(labelled, recipe, tmp_path):
    train(Sources([labelled], []), recipe, tmp_path, limits=Limits(0))
    assert load_released(tmp_path)[2] == 0


@pytest.mark.parametrize("fields", [{"steps": -1}, {"minutes": float("nan")}])
def test_limits_below_zero_are_refused(fields):
    with pytest.raises(InputError, match="expected 0 or more"):
        Limits(**fields)


def test_gradients_that_are_no_numbers_never_reach_the_weights(
    labelled, recipe, tmp_path, monkeypatch
):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(1))
    before = read_last(tmp_path)

    def loss(logits, target, known):
        return torch.sqrt((logits * 0).sum())  # 0, and its slope is infinite

    monkeypatch.setitem(loop.LOSSES, "dice_and_cross_entropy", loss)
    with pytest.raises(WeightsError, match="gradient's norm became nan at step 1"):
        train(sources, recipe, tmp_path, limits=Limits(2))
    assert read_last(tmp_path) == before


def test_a_validation_loss_that_is_no_number_is_not_the_best(labelled, recipe, tmp_path):
    run = Run(tmp_path, recipe)
    state = run.begin(None, "cpu")
    run.log_validation(state, 0.5, 0.5, 0.4)
    state.step = 1
    run.log_validation(state, float("nan"), 0.9, 0.8)
    run.save(state)
    assert load_released(tmp_path)[2] == 0
    state.step = 2
    run.log_validation(state, 0.4, 0.5, 0.4)
    assert load_released(tmp_path)[2] == 2


def test_a_start_is_validated_first_and_never_replaced_by_worse_weights(
    labelled, recipe, tmp_path
):
    fields = replace(recipe.training, best="dice", learning_rate=1.0)
    sources, start = Sources([labelled], []), UNet(recipe.network)
    wild = replace(recipe, training=fields)
    train(sources, wild, tmp_path, limits=Limits(4), validation=sources, start=Start(start))
    table = pd.read_csv(tmp_path / "validation.tsv", sep="\t")
    assert table["step"].tolist() == [0, 2, 4]
    step = load_released(tmp_path)[2]
    assert table.loc[table["step"] == step, "dice"].item() == table["dice"].max()


def test_the_start_teaches_unknown_outputs_within_the_brain(recipe):
    start = UNet(recipe.network).eval()
    image, target = torch.rand(1, 1, 16, 16, 16), torch.zeros(1, 2, 16, 16, 16)
    target[:, 0, :8] = 1
    filled, known = loop._fill_unknown(start, image, target, torch.tensor([[1.0, 0.0]]), 0)
    answer = start(image).sigmoid()
    assert known.tolist() == [[1, 1]]
    assert torch.equal(filled[:, 0], target[:, 0])
    torch.testing.assert_close(filled[:, 1, :8], answer[:, 1, :8])
    assert not filled[:, 1, 8:].any()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9."),
    ],
)
def test_too_little_memory_says_what_to_lower(labelled, recipe, tmp_path, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(loop._Loop, "take_step", fail)
    with pytest.raises(InputError, match=r"Lower training\.batch"):
        train(Sources([labelled], []), recipe, tmp_path, limits=Limits(1))


def test_a_log_of_an_older_run_gets_the_new_column(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(20))
    old = "step\tloss\tdice\tseconds_per_step\n20\t0.50000\t0.50000\t1.00000\n"
    (tmp_path / "steps.tsv").write_text(old, "utf-8")
    train(sources, recipe, tmp_path, limits=Limits(40))
    table = pd.read_csv(tmp_path / "steps.tsv", sep="\t")
    assert table["step"].tolist() == list(range(20, 41))
    dice, iou = table["dice"][1], table["iou"][1]
    assert 0 < iou < dice < 1


def test_tensorboard_gets_the_logs_where_its_folder_is(labelled, recipe, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sources = Sources([labelled], [])
    enable_tensorboard(tmp_path)
    for steps in (20, 40):
        train(sources, recipe, tmp_path, limits=Limits(steps), validation=sources)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"steps/iou", "validation/dice"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("steps/loss")] == list(range(1, 41))


def test_without_tensorboard_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.train.run_folder.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'deskull\[tensorboard\]'"):
        enable_tensorboard(tmp_path)


def test_a_damaged_recipe_is_not_overwritten(recipe, tmp_path):
    (tmp_path / "recipe.json").write_text('{"train": 3}', "utf-8")
    with pytest.raises(InputError, match="not a readable recipe"):
        Run(tmp_path, recipe)

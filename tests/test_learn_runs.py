"""The training loop and its folder: interrupted, resumed, broken and shared, at toy size."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from learn_heads import TOY, make_label_map

torch = pytest.importorskip("torch")
pd = pytest.importorskip("pandas")

from deskull.errors import InputError, WeightsError
from deskull.image.volume import make_volume
from deskull.learn import training
from deskull.learn.dataset import Sources, draw_parts
from deskull.learn.labels import make_labelled_head
from deskull.learn.pairs import RealHead
from deskull.learn.parts import count_parts, settle_parts
from deskull.learn.processes import Group
from deskull.learn.recipe import load_recipe, make_recipe
from deskull.learn.runs import Run, begin_board, load_released
from deskull.learn.split import SplitPlan
from deskull.learn.training import Limits, check_batch, learning_rate, train
from deskull.network.unet import UNet


@pytest.fixture(scope="module")
def labelled():
    return make_labelled_head(make_volume(make_label_map()), block=2)


@pytest.fixture(scope="module")
def recipe():
    return make_recipe(TOY, name="toy")


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

    def move_mean(*words):
        signal.raise_signal(number)  # weights have moved, their mean has not
        real(*words)

    real = training._move_mean
    with monkeypatch.context() as patch:
        patch.setattr(training, "_move_mean", move_mean)
        with pytest.raises(KeyboardInterrupt):
            train(sources, recipe, tmp_path / "parts", limits=Limits(3))
    assert signal.getsignal(number) == handler
    train(sources, recipe, tmp_path / "parts", limits=Limits(3))
    assert read_last(tmp_path / "whole") == read_last(tmp_path / "parts")


def test_a_second_interrupt_does_not_wait(labelled, recipe, tmp_path, monkeypatch):
    sources = Sources([labelled], [])

    def move_mean(*words):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "_move_mean", move_mean)
    with pytest.raises(KeyboardInterrupt):
        train(sources, recipe, tmp_path, limits=Limits(3))
    assert not (tmp_path / "last.safetensors").exists()


def test_no_steps_are_no_steps(labelled, recipe, tmp_path):
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

    monkeypatch.setitem(training.LOSSES, "dice_and_cross_entropy", loss)
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


def test_a_start_is_looked_at_first_and_never_beaten_by_worse(labelled, recipe, tmp_path):
    fields = replace(recipe.training, best="dice", learning_rate=1.0)
    sources, start = Sources([labelled], []), UNet(recipe.network)
    wild = replace(recipe, training=fields)
    train(sources, wild, tmp_path, limits=Limits(4), validation=sources, start=start)
    table = pd.read_csv(tmp_path / "validation.tsv", sep="\t")
    assert table["step"].tolist() == [0, 2, 4]
    step = load_released(tmp_path)[2]
    assert table.loc[table["step"] == step, "dice"].item() == table["dice"].max()


def test_what_is_unknown_is_taught_by_the_start_within_the_brain(recipe):
    start = UNet(recipe.network).eval()
    image, target = torch.rand(1, 1, 16, 16, 16), torch.zeros(1, 2, 16, 16, 16)
    target[:, 0, :8] = 1
    filled, known = training._ask(start, image, target, torch.tensor([[1.0, 0.0]]), 0)
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
    def fail(*words):
        raise error

    monkeypatch.setattr(training._Loop, "take_step", fail)
    with pytest.raises(InputError, match=r"Lower training\.batch"):
        train(Sources([labelled], []), recipe, tmp_path, limits=Limits(1))


def test_processes_need_equal_shares_of_a_batch(recipe):
    with pytest.raises(InputError, match="3 processes cannot share a batch of 1"):
        check_batch(recipe, 3)


def test_steps_see_the_same_examples_however_many_make_them(labelled, recipe):
    make = partial(training._make_batch, Sources([labelled], []), recipe, Group(0, 1, "cpu"))
    seen = []
    for makers in (1, 3):
        batches = training._Batches(make, makers)
        seen.append([batches.take(step) for step in range(4, 10)])
        batches.close()
    for one, three in zip(*seen, strict=True):
        assert all(map(torch.equal, one, three))


def test_makers_hold_a_batch_each_and_use_a_core_each():
    made, before = [], torch.get_num_threads()
    batches = training._Batches(lambda n: made.append((n, torch.get_num_threads())), 3)
    for step in range(6):
        batches.take(step)
        assert sorted(batches.coming) == [step + 1, step + 2, step + 3]
    batches.close()
    assert {threads for _, threads in made} == {1}
    numbers = sorted(number for number, _ in made)
    assert numbers == list(range(len(made)))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("device", "threads", "makers"), [("cpu", 8, 1), ("cuda:0", 8, 7), ("cuda", 1, 1)]
)
def test_a_gpu_leaves_the_cores_to_the_makers(monkeypatch, device, threads, makers):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert training.count_makers(device) == makers


def make_persons(labelled, maps, scans):
    heads = [replace(labelled, person=name) for name in maps]
    channels = np.zeros((2, 4, 4, 4), np.float32)
    return Sources(heads, [RealHead(name, name, channels, 12.0) for name in scans])


def test_scans_are_always_among_those_kept_apart(labelled):
    sources = make_persons(labelled, [f"m{n}" for n in range(20)], ["r0", "r1", "r2"])
    for seed in range(5):
        parts = draw_parts(sources, SplitPlan(0.1), seed)
        kept_apart = [person for person, part in parts.items() if part == "validation"]
        assert sorted(name[0] for name in kept_apart) == ["m", "m", "r"]


def test_who_was_kept_apart_never_learns(labelled, tmp_path, caplog):
    names = [f"p{n}" for n in range(5)]
    first = settle_parts(tmp_path, make_persons(labelled, names, []), SplitPlan(0.4), 1)
    apart = first.validation.persons
    sources = make_persons(labelled, [*apart, *first.train.persons[1:], "new"], [])
    again = settle_parts(tmp_path, sources, SplitPlan(), 9)
    assert again.validation.persons == apart
    assert again.train.persons == sorted([*first.train.persons[1:], "new"])
    assert "1 persons of this run are not in the sources" in caplog.text
    counts = {"train": 4, "validation": 2, "test": 0}
    assert count_parts(tmp_path) == {"share": 0.4, "seed": 1, **counts}
    with pytest.raises(InputError, match="nobody of those whom the run keeps apart"):
        settle_parts(tmp_path, make_persons(labelled, first.train.persons, []), SplitPlan(), 1)
    with pytest.raises(InputError, match="nobody of the run is left to learn from"):
        settle_parts(tmp_path, make_persons(labelled, apart, []), SplitPlan(), 1)


def test_folds_take_turns_at_the_test_and_a_run_keeps_its_own(labelled, tmp_path):
    names = [f"p{n}" for n in range(9)]
    tested = []
    for fold in range(3):
        plan = SplitPlan(0.2, folds=3, fold=fold)
        parts = settle_parts(tmp_path / f"{fold}", make_persons(labelled, names, []), plan, 0)
        sizes = [len(part.persons) for part in (parts.train, parts.validation, parts.test)]
        assert sizes == [5, 1, 3]
        tested += parts.test.persons
    assert sorted(tested) == names
    assert count_parts(tmp_path / "2")["fold"] == 2
    again = settle_parts(tmp_path / "2", make_persons(labelled, names, []), plan, 5)
    assert again.test.persons == parts.test.persons
    with pytest.raises(InputError, match="begun with fold 2 of 3"):
        settle_parts(tmp_path / "2", make_persons(labelled, names, []), SplitPlan(), 0)


def test_a_split_of_an_older_run_without_a_test_goes_on(labelled, tmp_path):
    (tmp_path / "split.json").write_text(
        '{"share": 0.2, "seed": 0, "train": ["a"], "validation": ["b"]}', "utf-8"
    )
    parts = settle_parts(tmp_path, make_persons(labelled, ["a", "b"], []), SplitPlan(), 0)
    assert (parts.train.persons, parts.validation.persons, parts.test.persons) == (
        ["a"],
        ["b"],
        [],
    )


def test_a_log_of_an_older_run_gets_the_new_column(labelled, recipe, tmp_path):
    sources = Sources([labelled], [])
    train(sources, recipe, tmp_path, limits=Limits(20))
    old = "step\tloss\tdice\tseconds_per_step\n20\t0.50000\t0.50000\t1.00000\n"
    (tmp_path / "steps.tsv").write_text(old, "utf-8")
    train(sources, recipe, tmp_path, limits=Limits(40))
    table = pd.read_csv(tmp_path / "steps.tsv", sep="\t")
    assert table["step"].tolist() == [20, 40]
    dice, iou = table["dice"][1], table["iou"][1]
    assert 0 < iou < dice < 1


def test_tensorboard_gets_the_logs_where_its_folder_is(labelled, recipe, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sources = Sources([labelled], [])
    begin_board(tmp_path)
    for steps in (20, 40):
        train(sources, recipe, tmp_path, limits=Limits(steps), validation=sources)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"steps/iou", "validation/dice"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("steps/loss")] == [20, 40]


def test_without_tensorboard_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("deskull.learn.runs.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"deskull\[tensorboard\]"):
        begin_board(tmp_path)


def test_statistics_of_batch_norm_are_averaged_over_processes(monkeypatch):
    network = torch.nn.BatchNorm3d(2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda x: x.add_(torch.full_like(x, 3)))
    Group(0, 2, "cpu").average_statistics(network)
    assert network.running_mean.tolist() == [1.5, 1.5]
    assert network.running_var.tolist() == [2, 2]
    assert network.num_batches_tracked == 0


def test_a_damaged_split_is_not_overwritten(labelled, tmp_path):
    (tmp_path / "split.json").write_text('{"train": 3}', "utf-8")
    sources = make_persons(labelled, ["a", "b"], [])
    with pytest.raises(InputError, match="not a readable split"):
        settle_parts(tmp_path, sources, SplitPlan(0.5), 0)


def test_a_damaged_recipe_is_not_overwritten(recipe, tmp_path):
    (tmp_path / "recipe.json").write_text('{"train": 3}', "utf-8")
    with pytest.raises(InputError, match="not a readable recipe"):
        Run(tmp_path, recipe)


def test_heads_in_one_process_are_prepared_before_others_begin(monkeypatch):
    order = []
    monkeypatch.setattr(Group, "wait", lambda group: order.append(f"{group.rank} waits"))
    for rank in (0, 1):
        with Group(rank, 2, "cpu").first():
            order.append(f"{rank} works")
    assert order == ["0 works", "0 waits", "1 waits", "1 works"]

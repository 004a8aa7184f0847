"""Training shared: processes that share a batch, and threads that make the examples."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from train_heads import labelled, recipe

torch = pytest.importorskip("torch")
pytest.importorskip("pandas")

from deskull.errors import InputError
from deskull.train.examples import Batches, choose_maker, make_batch
from deskull.train.processes import Group
from deskull.train.run_folder import load_released
from deskull.train.sources import Sources

__all__ = ["labelled", "recipe"]


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
    # Adam magnifies rounding where a gradient is nearly 0: a few weights may differ by more.
    errors = torch.cat([(two[name] - value).abs().flatten() for name, value in one.items()])
    assert errors.mean() < 1e-4
    assert errors.max() < 3e-3


def test_processes_need_equal_shares_of_a_batch():
    with pytest.raises(InputError, match="3 processes cannot share a batch of 1"):
        Group(0, 3, "cpu").check_batch(1)


def test_steps_see_the_same_examples_however_many_make_them(labelled, recipe):
    make = partial(make_batch, Sources([labelled], []), recipe, 0, 1)
    seen = []
    for makers in (1, 3):
        batches = Batches(make, makers)
        seen.append([batches.take(step) for step in range(4, 10)])
        batches.close()
    for one, three in zip(*seen, strict=True):
        assert all(map(torch.equal, one, three))


def test_makers_hold_a_batch_each_and_use_a_core_each():
    made, before = [], torch.get_num_threads()
    batches = Batches(lambda n: made.append((n, torch.get_num_threads())) or (), 3)
    for step in range(6):
        batches.take(step)
        assert sorted(batches.coming) == [step + 1, step + 2, step + 3]
    batches.close()
    assert {threads for _, threads in made} == {1}
    numbers = sorted(number for number, _ in made)
    assert numbers == list(range(len(made)))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("device", "threads", "place", "makers"),
    [("cpu", 8, "cpu", 1), ("cuda:1", 8, "cuda:1", 4), ("mps", 8, "cpu", 7), ("mps", 1, "cpu", 1)],
)
def test_examples_are_made_on_an_nvidia_gpu_else_on_the_cores(
    monkeypatch, device, threads, place, makers
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert choose_maker(device) == (place, makers)


def test_statistics_of_batch_norm_are_averaged_over_processes(monkeypatch):
    network = torch.nn.BatchNorm3d(2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda x: x.add_(torch.full_like(x, 3)))
    Group(0, 2, "cpu").average_statistics(network)
    assert network.running_mean.tolist() == [1.5, 1.5]
    assert network.running_var.tolist() == [2, 2]
    assert network.num_batches_tracked == 0


def test_heads_in_one_process_are_prepared_before_others_begin(monkeypatch):
    order = []
    monkeypatch.setattr(Group, "wait", lambda group: order.append(f"{group.rank} waits"))
    for rank in (0, 1):
        with Group(rank, 2, "cpu").first():
            order.append(f"{rank} works")
    assert order == ["0 works", "0 waits", "1 waits", "1 works"]

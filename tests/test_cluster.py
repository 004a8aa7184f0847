"""A cohort on a Dask cluster in this process: the outputs of one machine, and errors."""

from dataclasses import replace

import pytest

from ball import ball, list_files, read_json, run
from clusters import REQUEST, SCANS, check_all_there, distributed, find_port, study
from deskull.cohort import Job, make_plan, strip_cohort
from deskull.cohort import cluster as on_cluster
from deskull.errors import DeskullError, InputError, WeightsError
from studies import read_table

__all__ = ["ball", "study"]


# --- a cluster in this process


@pytest.fixture
def address(ball, monkeypatch):
    """Address of a scheduler with one worker of two threads, all of this process."""
    monkeypatch.setattr(on_cluster, "CONNECT_SECONDS", 30)
    options = {"processes": False, "protocol": "tcp://", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, **options) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_writes_the_same_bytes_as_one_machine(study, address):
    assert run("batch", "study", "--out-dir", "one") == 0
    assert run("batch", "study", "--out-dir", "many", "--cluster", address) == 0
    one, many = (list_files(study / name) for name in ("one", "many"))
    assert one.keys() == many.keys()
    for name in one:
        assert one[name] == many[name] or name.endswith((".json", ".tsv"))
    assert [row["input"] for row in read_table("many/deskull_batch.tsv")] == SCANS


def test_done_scans_are_skipped_and_broken_ones_recorded(study, address, capsys):
    assert run("batch", "study", "--out-dir", "out", "--cluster", address) == 0
    before = {path: path.stat().st_mtime_ns for path in study.glob("out/a/*.json")}
    (study / "study/a/2.nii").write_text("no image")
    assert run("batch", "study", "--out-dir", "out", "--cluster", address) == 1
    changed = [path.name for path, when in before.items() if path.stat().st_mtime_ns != when]
    assert changed == ["2_record.json"]
    assert "1 of 4 scans failed: a/2.nii" in capsys.readouterr().err


def test_a_scan_uses_one_core_or_the_threads_requested(study, address):
    tasks = make_plan(["study"], "out")
    for threads, wanted in ((None, 1), (3, 3)):
        job = Job(threads=threads)
        strip_cohort(tasks, "out", job, cluster=address, force=True)
        assert {read_json(task.record)["threads"] for task in tasks} == {wanted}


def test_a_result_lost_with_its_worker_is_computed_again(study, address, monkeypatch):
    result, lost = distributed.Future.result, []

    def lose_the_first(future, timeout=None):
        if not lost:
            lost.append(future.key)
            raise distributed.KilledWorker(future.key, None, 3)
        return result(future, timeout)

    monkeypatch.setattr(distributed.Future, "result", lose_the_first)
    strip_cohort(tasks := make_plan(["study"], "out"), "out", cluster=address)
    assert lost
    check_all_there(tasks)


def test_all_scans_are_stripped_if_there_are_more_than_are_submitted_at_once(
    study, address, monkeypatch
):
    monkeypatch.setattr(on_cluster, "MAX_SUBMITTED", 2)
    strip_cohort(tasks := make_plan(["study"], "out"), "out", cluster=address)
    check_all_there(tasks)


def test_an_error_while_a_worker_starts_stops_the_run(study, address):
    def load(*_):
        raise InputError("no stripper today.")

    with pytest.raises(InputError, match=r"no stripper today\."):
        strip_cohort(make_plan(["study"], "out"), "out", Job(load=load), cluster=address)


def test_an_unexpected_error_on_a_worker_is_explained(study, address):
    def load(*_):
        raise ImportError("no such library")

    message = r"a worker cannot strip \(ImportError: no such library\). Is deskull .* installed"
    with pytest.raises(DeskullError, match=message):
        strip_cohort(make_plan(["study"], "out"), "out", Job(load=load), cluster=address)


def test_a_cluster_without_workers_is_warned_of(study, ball, monkeypatch, caplog):
    monkeypatch.setattr(on_cluster, "POLL_SECONDS", 0.1)
    options = {"processes": False, "protocol": "tcp://", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=0, **options) as cluster:
        where = cluster.scheduler_address

        def come(progress):
            if not progress.finished:
                cluster.loop.call_later(0.5, cluster.scale, 1)

        tasks = make_plan(["study"], "out")
        strip_cohort(tasks, "out", cluster=where, observe=come)
    check_all_there(tasks)
    assert caplog.messages.count(f"{where}: no worker there; waiting for one") == 1


# --- what a worker checks


@pytest.fixture
def order(tmp_path):
    (tmp_path / "marker").touch()
    return lambda **other: on_cluster._Order(
        **{"job": Job(), "request": REQUEST, "marker": tmp_path / "marker", **other}
    )


def test_a_worker_of_another_version_is_an_error():
    with pytest.raises(InputError, match=r"worker on .*: deskull .*; the run .* with 0\.0\.0\."):
        on_cluster._make_remote_function()("0.0.0", b"")


def test_a_worker_with_other_weights_is_an_error(order):
    with pytest.raises(WeightsError, match=r"worker on .*: weights 'default' are not those"):
        on_cluster._make_stripper(order(request=replace(REQUEST, weights="0" * 64)))


def test_a_worker_that_does_not_see_the_outputs_is_an_error(order, tmp_path):
    with pytest.raises(InputError, match=r"worker on .* on a disk that all machines share"):
        on_cluster._make_stripper(order(marker=tmp_path / "nope/marker"))


def test_a_worker_makes_its_stripper_once(order, ball):
    on_cluster._make_stripper.cache_clear()
    assert on_cluster._make_stripper(order()) is on_cluster._make_stripper(order())


# --- the address of the cluster


@pytest.mark.parametrize(
    "where", ["tcp://127.0.0.1:{}", "tcp://no.such.host.invalid:8786", "tcp://"]
)
def test_a_scheduler_that_does_not_answer_is_an_error(study, monkeypatch, capsys, where):
    monkeypatch.setattr(on_cluster, "CONNECT_SECONDS", 0.5)
    where = where.format(find_port())
    assert run("batch", "study", "--out-dir", "out", "--cluster", where) == 1
    err = capsys.readouterr().err
    assert f"deskull: error: {where}: no Dask scheduler answers there within 0.5 s." in err
    assert err.count("\n") == 1

"""A cohort on Dask: the scans and records of one machine, whoever strips them and whoever dies."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ball import HEAD, ball, list_files, load_ball, load_deadly, read_json, run
from deskull.cohort import Job, is_done, make_plan, strip_cohort
from deskull.cohort import cluster as on_cluster
from deskull.cohort import queues as queue_files
from deskull.cohort.records import make_request
from deskull.demo import load_demo
from deskull.errors import DeskullError, InputError, WeightsError
from deskull.image.writing import save_image
from deskull.network.weights import load_weights
from deskull.stripper import Settings

distributed = pytest.importorskip("distributed")
if find_spec("dask_jobqueue") is None:
    pytest.skip("no dask_jobqueue", allow_module_level=True)

__all__ = ["ball"]
TESTS = Path(__file__).parent
SCANS = [f"a/{number}.nii" for number in range(4)]
REQUEST = make_request(Settings(), 0.0, load_weights().digest)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Work in a folder with a study of four scans."""
    monkeypatch.chdir(tmp_path)
    for name in SCANS:
        write_scan(tmp_path / "study" / name)
    return tmp_path


def write_scan(path, image=HEAD):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(image, path)


def write_more(study, count):
    """Let the study have so many scans in all."""
    for number in range(len(SCANS), count):
        write_scan(study / f"study/b/{number}.nii")
    return make_plan(["study"], "out")


def read_table(path="out/deskull_batch.tsv"):
    with open(path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def check_all_there(tasks):
    """Every scan was stripped, and has one row."""
    assert all(is_done(task, REQUEST) for task in tasks)
    rows = [(row["input"], row["status"]) for row in read_table()]
    assert rows == [(task.name, "done") for task in tasks]


def load_slow(weights, device, threads):
    """One that takes as long for a scan as a real one, so that one can die meanwhile."""
    quick = load_ball(weights, device, threads)

    def strip(volume, settings):
        time.sleep(0.4)
        return quick(volume, settings)

    return strip


# --- a cluster in this process


@pytest.fixture
def address(ball, monkeypatch):
    """Address of a scheduler with one worker of two threads, all of this process."""
    monkeypatch.setattr(on_cluster, "REACH_SECONDS", 30)
    options = {"processes": False, "protocol": "tcp://", "dashboard_address": None}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, **options) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_gives_the_bytes_of_one_machine(study, address):
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


def test_a_scan_gets_one_core_or_those_asked_for(study, address):
    tasks = make_plan(["study"], "out")
    for threads, wanted in ((None, 1), (3, 3)):
        job = Job(threads=threads)
        strip_cohort(tasks, "out", job, cluster=address, force=True)
        assert {read_json(task.record)["threads"] for task in tasks} == {wanted}


def test_more_scans_than_the_scheduler_is_told_of_are_all_stripped(study, address, monkeypatch):
    monkeypatch.setattr(on_cluster, "AHEAD", 2)
    strip_cohort(tasks := make_plan(["study"], "out"), "out", cluster=address)
    check_all_there(tasks)


def test_what_stops_a_worker_stops_the_run(study, address):
    def load(*_):
        raise InputError("no stripper today.")

    with pytest.raises(InputError, match=r"no stripper today\."):
        strip_cohort(make_plan(["study"], "out"), "out", Job(load=load), cluster=address)


def test_a_fault_on_a_worker_is_told_with_what_to_do(study, address):
    def load(*_):
        raise ImportError("no such library")

    words = r"a worker cannot strip \(ImportError: no such library\). Is deskull .* installed"
    with pytest.raises(DeskullError, match=words):
        strip_cohort(make_plan(["study"], "out"), "out", Job(load=load), cluster=address)


def test_a_cluster_without_workers_is_told_of(study, ball, monkeypatch, caplog):
    monkeypatch.setattr(on_cluster, "LOOK_SECONDS", 0.1)
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
    (tmp_path / "lock").touch()
    digest = load_weights().digest
    return lambda **other: on_cluster._Order(
        **{"job": Job(), "digest": digest, "witness": tmp_path / "lock", **other}
    )


def test_a_worker_of_another_version_says_so():
    with pytest.raises(InputError, match=r"worker on .*: deskull .*; the run .* with 0\.0\.0\."):
        on_cluster._make_errand()("0.0.0", b"")


def test_a_worker_with_other_weights_says_so(order):
    with pytest.raises(WeightsError, match=r"worker on .*: weights 'default' are not those"):
        on_cluster._make_stripper(order(digest="0" * 64))


def test_a_worker_that_does_not_see_the_outputs_says_so(order, tmp_path):
    with pytest.raises(InputError, match=r"worker on .* on a disk that all machines share"):
        on_cluster._make_stripper(order(witness=tmp_path / "nope/lock"))


def test_a_worker_makes_its_stripper_once(order, ball):
    on_cluster._make_stripper.cache_clear()
    assert on_cluster._make_stripper(order()) is on_cluster._make_stripper(order())


# --- where the cluster is


JOBS = 'system = "slurm"\njobs = 2\ncores = 4\nmemory = "8GB"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "jobs.toml: cannot be read (No such file or directory); expected the address of"),
        ("x", "jobs.toml: not TOML ("),
        ("\udcff", "jobs.toml: not TOML ("),
        ("jobs = 2", "jobs.toml: no system; expected system, jobs, cores, memory at least."),
        (
            JOBS.replace("slurm", "lsf"),
            "system 'lsf'; expected one of slurm, pbs, sge.",
        ),
        (
            JOBS + 'quue = "x"',
            "unknown field 'quue'; expected system, jobs, cores, memory",
        ),
        (JOBS + 'project = "x"', "jobs.toml: unknown field 'project'"),
        (JOBS + "walltime = 60", "jobs.toml: walltime 60; expected a string."),
        (JOBS + "processes = 0", "jobs.toml: processes 0; expected a whole number from 1 on."),
        (JOBS + "processes = true", "jobs.toml: processes True; expected a whole number"),
        (JOBS + "job_script_prologue = [1]", "job_script_prologue [1]; expected a list of str"),
        (
            JOBS.replace("8GB", "much"),
            "memory 'much'; expected a number with its unit",
        ),
    ],
)
def test_a_wrong_file_is_told(study, queues, capsys, text, message):
    if text is not None:
        Path("jobs.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run("batch", "study", "--out-dir", "out", "--cluster", "jobs.toml") == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "where", ["tcp://127.0.0.1:{}", "tcp://no.such.host.invalid:8786", "tcp://"]
)
def test_a_scheduler_that_does_not_answer_is_told(study, monkeypatch, capsys, where):
    monkeypatch.setattr(on_cluster, "REACH_SECONDS", 0.5)
    where = where.format(find_port())
    assert run("batch", "study", "--out-dir", "out", "--cluster", where) == 1
    err = capsys.readouterr().err
    assert f"deskull: error: {where}: no Dask scheduler answers there within 0.5 s." in err
    assert err.count("\n") == 1


def find_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("name", ["distributed", "dask_jobqueue"])
def test_a_missing_library_is_named(study, queues, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    Path("jobs.toml").write_text(JOBS)
    assert run("batch", "study", "--out-dir", "out", "--cluster", "jobs.toml") == 1
    words = f"--cluster needs {name}, which is not installed. Try: pip install 'deskull[cluster]'"
    assert words in capsys.readouterr().err


# --- jobs of a queue


@pytest.fixture
def queues(tmp_path, monkeypatch):
    """Commands that submit jobs: each runs its script in the background, here and now."""
    (tmp_path / "bin").mkdir()
    submit = (
        "#!/bin/sh\nfor last; do :; done\ncp $last job.$$\n"
        "setsid bash job.$$ > job.$$.log 2>&1 &\necho $! >> pids\necho Submitted batch job $!\n"
    )
    cancel = "#!/bin/sh\nfor pid; do kill -- -$pid; done\n"
    for name in ("sbatch", "qsub", "scancel", "qdel"):
        path = tmp_path / "bin" / name
        path.write_text(submit if name in ("sbatch", "qsub") else cancel)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


COMMON = 'jobs = 3\ncores = 8\nmemory = "16GB"\nqueue = "short"\nwalltime = "01:30:00"\n'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            'system = "slurm"\naccount = "lab"\njob_extra_directives = ["--qos=low"]\n'
            'job_script_prologue = ["module load python"]\n',
            "#SBATCH -p short|#SBATCH -A lab|#SBATCH --cpus-per-task=8|#SBATCH --mem=15G|"
            "#SBATCH -t 01:30:00|#SBATCH --qos=low|module load python",
        ),
        (
            'system = "pbs"\naccount = "lab"\nresource_spec = "select=1:ncpus=8:mem=16gb"\n',
            "#PBS -q short|#PBS -A lab|#PBS -l select=1:ncpus=8:mem=16gb|"
            "#PBS -l walltime=01:30:00",
        ),
        (
            'system = "sge"\nproject = "lab"\nresource_spec = "h_vmem=2G"\n',
            "#$ -q short|#$ -P lab|#$ -l h_vmem=2G|#$ -l h_rt=01:30:00",
        ),
    ],
)
def test_a_file_makes_the_right_job(queues, text, lines):
    (queues / "jobs.toml").write_text(COMMON + text)
    with queue_files.make_queue(queue_files.read_queue(queues / "jobs.toml"), threads=2) as made:
        script = made.job_script()
    assert set(lines.split("|")) <= set(script.splitlines())
    command = script.splitlines()[-1]
    assert command.startswith(sys.executable)
    assert command.rindex("--nthreads 4") > command.index("--nthreads 8")  # the last one counts


def test_ctrl_c_stays_what_it_was(queues):
    code = (
        "import signal; from deskull.cohort.queues import make_queue, read_queue;"
        "make_queue(read_queue('jobs.toml')).close();"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    (queues / "jobs.toml").write_text(JOBS)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=queues)


def test_a_machine_that_submits_no_jobs_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    fields = {"system": "slurm", "jobs": 1, "cores": 1, "memory": "1GB"}
    with pytest.raises(InputError, match=r"slurm: no command sbatch on this machine\."):
        queue_files.make_queue(fields)


@pytest.mark.slow
def test_a_queue_s_jobs_strip_all_scans_and_lost_jobs_are_asked_for_again(
    study, queues, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setattr(on_cluster, "LOOK_SECONDS", 1.0)
    with distributed_config({"distributed.deploy.lost-worker-timeout": "1s"}):
        Path("jobs.toml").write_text(
            'system = "slurm"\njobs = 1\ncores = 1\nmemory = "2GB"\ninterface = "lo"\n'
        )
        tasks = write_more(study, 6)

        def kill(progress):
            if progress.finished == 2:
                os.killpg(int(Path("pids").read_text().split()[0]), signal.SIGKILL)

        strip_cohort(tasks, "out", Job(load=load_slow), cluster="jobs.toml", observe=kill)
    check_all_there(tasks)
    pids = [int(pid) for pid in Path("pids").read_text().split()]
    assert len(pids) == 2
    wait_for(lambda: not any(is_alive(pid) for pid in pids))


@contextmanager
def distributed_config(options):
    import dask

    with dask.config.set(options):
        yield


def is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- real processes


@pytest.fixture
def start(tmp_path):
    """Start a part of a cluster as a process of its own; all are ended afterwards."""
    started = []

    def start(*words, **environment):
        with open(tmp_path / "cluster.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, words)],
                env=os.environ | {"PYTHONPATH": str(TESTS), **environment},
                stdout=log,
                stderr=log,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def start_scheduler(start):
    port = find_port()
    words = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    scheduler = start("distributed.cli.dask_scheduler", *words)
    return scheduler, f"tcp://127.0.0.1:{port}"


def start_worker(start, address, **environment):
    words = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
    return start("distributed.cli.dask_worker", address, *words, **environment)


@pytest.fixture
def patient(monkeypatch):
    """Processes take long to start on a machine that is busy."""
    monkeypatch.setattr(on_cluster, "REACH_SECONDS", 60)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_no_scan(study, start, patient):
    tasks = write_more(study, 12)
    _, address = start_scheduler(start)
    workers = [start_worker(start, address) for _ in range(3)]
    seen = []

    def kill(progress):
        seen.append(progress)
        if progress.finished == 4:
            workers[0].kill()

    outcomes = strip_cohort(tasks, "out", Job(load=load_slow), cluster=address, observe=kill)
    assert workers[0].wait(10) == -signal.SIGKILL
    assert [outcome.name for outcome in outcomes] == [task.name for task in tasks]
    check_all_there(tasks)
    assert (seen[-1].finished, seen[-1].failed) == (12, 0)
    assert not [path for path in Path("out").rglob(".*")]


@pytest.mark.slow
def test_a_scheduler_that_is_lost_ends_the_run_and_the_next_one_goes_on(study, start, patient):
    tasks = write_more(study, 6)
    scheduler, address = start_scheduler(start)
    start_worker(start, address)

    def kill(progress):
        if progress.finished == 2:
            scheduler.kill()

    job = Job(load=load_slow)
    with pytest.raises(DeskullError, match=f"{address}: the scheduler was lost"):
        strip_cohort(tasks, "out", job, cluster=address, observe=kill)
    done = sum(is_done(task, REQUEST) for task in tasks)
    assert 2 <= done < 6
    _, address = start_scheduler(start)
    start_worker(start, address)
    seen = []
    strip_cohort(tasks, "out", job, cluster=address, observe=seen.append)
    assert seen[0].skipped >= done
    check_all_there(tasks)


@pytest.mark.slow
def test_a_cluster_without_deskull_says_so(study, start, patient):
    (study / "without/deskull").mkdir(parents=True)
    (study / "without/deskull/__init__.py").write_text("raise ModuleNotFoundError('no deskull')")
    port = find_port()
    without = {"PYTHONPATH": str(study / "without")}
    words = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    start("distributed.cli.dask_scheduler", *words, **without)
    worker = start_worker(start, address := f"tcp://127.0.0.1:{port}", **without)
    with pytest.raises(DeskullError, match=r"no deskull\). Is deskull .* installed where the wor"):
        strip_cohort(make_plan(["study"], "out"), "out", cluster=address)
    assert worker.poll() is None


@pytest.mark.slow
def test_a_scan_that_kills_its_workers_is_recorded_and_costs_no_other(study, monkeypatch, patient):
    monkeypatch.syspath_prepend(str(TESTS))
    tasks = write_more(study, 6)
    with (
        distributed_config({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
    ):
        where = cluster.scheduler_address
        outcomes = strip_cohort(tasks, "out", Job(load=load_deadly), cluster=where)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3 + ["failed"] + ["done"] * 2
    assert outcomes[3].error.startswith("every worker that tried it was lost, perhaps because")
    assert read_json(tasks[3].record)["error"] == outcomes[3].error


@pytest.mark.slow
def test_the_real_network_on_a_real_cluster(tmp_path, monkeypatch, patient):
    monkeypatch.chdir(tmp_path)
    head = load_demo()[0]
    data = np.ascontiguousarray(head.data[::3, ::3, ::3]).astype(np.int16)
    image = nib.Nifti1Image(data, head.grid.affine @ np.diag([3, 3, 3, 1]))
    for number in range(4):
        write_scan(tmp_path / f"study/{number}.nii.gz", image)
    options = {"threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=2, **options) as cluster:
        words = ["study", "--out-dir", "out", "--cluster", cluster.scheduler_address]
        assert run("batch", *words, "-q") == 0
    assert {row["status"] for row in read_table()} == {"done"}
    assert len({path.read_bytes() for path in tmp_path.glob("out/*_mask.nii.gz")}) == 1

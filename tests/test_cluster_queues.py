"""Workers that are jobs of a queue: the job file, and queues simulated by shell scripts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ball import run
from clusters import TESTS, check_all_there, distributed_config, load_slow, study, write_more
from deskull.cohort import Job, strip_cohort
from deskull.cohort import cluster as on_cluster
from deskull.cohort import queues as queue_files
from deskull.errors import InputError

__all__ = ["study"]


# --- the file

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
def test_a_wrong_job_file_is_an_error(study, queues, capsys, text, message):
    if text is not None:
        Path("jobs.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert run("batch", "study", "--out-dir", "out", "--cluster", "jobs.toml") == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["distributed", "dask_jobqueue"])
def test_a_missing_library_is_named(study, queues, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    Path("jobs.toml").write_text(JOBS)
    assert run("batch", "study", "--out-dir", "out", "--cluster", "jobs.toml") == 1
    err = capsys.readouterr().err
    assert f"--cluster: {name.replace('_', '-')} is not installed." in err
    assert "pip install 'deskull[cluster]'" in err


# --- jobs of a queue


@pytest.fixture
def queues(tmp_path, monkeypatch):
    """Make commands that submit jobs: each runs its script at once in the background."""
    if os.name != "posix":
        pytest.skip("needs programs that are scripts of a shell")
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
def test_a_job_file_gives_the_right_job_script(queues, text, lines):
    (queues / "jobs.toml").write_text(COMMON + text)
    with queue_files.make_cluster(
        queue_files.read_job_file(queues / "jobs.toml"), threads=2
    ) as made:
        script = made.job_script()
    assert set(lines.split("|")) <= set(script.splitlines())
    command = script.splitlines()[-1]
    assert command.startswith(sys.executable)
    assert command.rindex("--nthreads 4") > command.index("--nthreads 8")  # the last one counts


def test_ctrl_c_still_interrupts(queues):
    code = (
        "import signal; from deskull.cohort.queues import make_cluster, read_job_file;"
        "make_cluster(read_job_file('jobs.toml')).close();"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    (queues / "jobs.toml").write_text(JOBS)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=queues)


def test_a_machine_without_the_submit_command_is_an_error(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    fields = {"system": "slurm", "jobs": 1, "cores": 1, "memory": "1GB"}
    with pytest.raises(InputError, match=r"slurm: no command sbatch on this machine\."):
        queue_files.make_cluster(fields)


REFUSAL = "sbatch: error: Batch job submission failed: Invalid account specified"


def write_command(queues, name, text):
    (queues / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
    (queues / "bin" / name).chmod(0o755)


def write_lone_jobs(queues):
    """Make commands that accept jobs but never run them, and note the cancelled ones."""
    write_command(queues, "sbatch", "echo $$ >> taken\necho Submitted batch job $$")
    write_command(queues, "scancel", "echo $1 >> cancelled")
    Path("jobs.toml").write_text(JOBS + 'interface = "lo"\n')


def check_none_left():
    taken = Path("taken").read_text().split()
    assert sorted(Path("cancelled").read_text().split()) == sorted(taken)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(on_cluster, "POLL_SECONDS", 0.2)


def test_the_error_quotes_a_queue_that_refuses_jobs(study, queues, impatient, capsys):
    write_command(queues, "sbatch", f'echo "{REFUSAL}" >&2; exit 1')
    Path("jobs.toml").write_text(JOBS + 'interface = "lo"\n')
    assert run("batch", "study", "--out-dir", "out", "--cluster", "jobs.toml") == 1
    assert capsys.readouterr().err == f"deskull: error: slurm refuses the jobs: {REFUSAL}\n"


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ("awk '{print $1, \"PENDING JobHeldAdmin\"}' taken", "slurm will not start the jobs: "),
        ("true", "slurm: the jobs ended before a worker came. See their logs"),
    ],
)
def test_jobs_that_never_bring_a_worker_are_cancelled_with_an_error(
    study, queues, impatient, capsys, listing, message
):
    write_lone_jobs(queues)
    write_command(queues, "squeue", listing)
    assert run("batch", "study", "--out-dir", "out", "--cluster", "jobs.toml") == 1
    assert f"deskull: error: {message}" in capsys.readouterr().err
    check_none_left()


def test_the_state_of_waiting_jobs_is_reported_and_ctrl_c_cancels_them(study, queues):
    write_lone_jobs(queues)
    write_command(queues, "squeue", "awk '{print $1, \"PENDING Priority\"}' taken")
    code = (
        "from deskull.cohort import cluster; cluster.POLL_SECONDS = 0.2\n"
        "import sys; from deskull.cli import run\n"
        "sys.exit(run(['batch', 'study', '-o', 'out', '--cluster', 'jobs.toml']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as waiting:
        lines = [next(waiting.stderr) for _ in range(2)]
        os.killpg(waiting.pid, signal.SIGINT)  # as a terminal does
        lines += waiting.stderr.readlines()
    assert waiting.returncode == 130
    assert len(lines) == 3
    assert "no worker yet; slurm says of the first job: " in lines[0]
    assert "PENDING Priority" in lines[0]
    assert lines[1:] == [
        "deskull: jobs.toml: no worker there; waiting for one\n",
        "deskull: interrupted; no half file was left\n",
    ]
    check_none_left()


def test_a_queue_that_refuses_some_jobs_is_warned_of_once(caplog):
    jobs = {1: SimpleNamespace(job_id="7"), 2: SimpleNamespace(job_id=None)}
    kind = SimpleNamespace(refusals=["job limit"])
    cluster = SimpleNamespace(workers=jobs, job_cls=kind)
    queue = queue_files.JobQueue(cluster, {"system": "slurm", "jobs": 2})
    for _ in range(2):
        queue.check(1)
    assert caplog.messages == ["slurm refuses 1 of 2 jobs, the others are used: job limit"]


@pytest.mark.slow
def test_jobs_of_a_queue_strip_all_scans_and_lost_jobs_are_requested_again(
    study, queues, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setattr(on_cluster, "POLL_SECONDS", 1.0)
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

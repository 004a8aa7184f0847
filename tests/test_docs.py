"""The documentation says what the program does: its commands, flags, errors, numbers, programs."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from inspect import getmembers, isclass
from pathlib import Path

import pytest

from deskull import commands, errors
from deskull.cohort import queues
from deskull.measure import quality
from docs_pages import (
    DOCS,
    PAGES,
    ROOT,
    find_blocks,
    read_page,
    site_accuracy,
    site_pages,
    site_tables,
)

SHELL = {
    **{"$inputs": "i", "$outputs": "o", "$INDEX": "3", "${scans}": "a.nii.gz b.nii.gz"},
    **{"$SLURM_ARRAY_TASK_ID": "3", "$SLURM_ARRAY_TASK_COUNT": "5", "50/50": "5/5"},
    **{"$SLURM_CPUS_PER_TASK": "2", "${task.cpus}": "2"},
}
SOURCES = [
    path.read_text("utf-8") for path in (ROOT / "src/deskull").rglob("*.py") if path.stat().st_size
]


def find_command_lines(page):
    blocks = find_blocks(page, "(?:console|groovy|bash)?")
    text = re.sub(r"\\\n\s*", " ", "\n".join(blocks))
    for name, value in SHELL.items():
        text = text.replace(name, value)
    return re.findall(r"^\s*(?:\$ )?(deskull(?:-bids)? .*)$", text, re.MULTILINE)


# --- command lines


@pytest.mark.parametrize("page", [page for page in PAGES if find_command_lines(page)])
def test_every_command_line_of_a_page_is_accepted(page):
    for line in find_command_lines(page):
        if "COMMAND" in line or line.startswith("deskull demo &&"):
            continue
        program, *arguments = shlex.split(line, comments=True)
        arguments = arguments[: arguments.index("&&")] if "&&" in arguments else arguments
        commands.parse(["bids", *arguments] if program == "deskull-bids" else arguments)


def test_the_command_line_page_has_every_option_of_every_command():
    page = site_tables.show_command_line()
    for name, parser in commands.make_parser().commands.items():
        assert f"{{#{name}}}" in page
        for action in parser._actions:
            for word in set(action.option_strings) - {"-h", "--help", "--version"}:
                assert f"`{word}" in page, f"{name} {word}"


# --- flags and errors


def list_flags():
    """Names that the source gives to flags, as text or as a constant."""
    text = "\n".join(SOURCES)
    names = set(re.findall(r"Flag\(\s*\"([a-z-]+)\"", text))
    for constant in re.findall(r"Flag\(\s*([A-Z_]+),", text):
        names |= set(re.findall(rf"^{constant} = \"(.*?)\"", text, re.MULTILINE))
    return names


def test_every_flag_has_its_section():
    sections = set(re.findall(r"^## ([a-z-]+)$", read_page("reference/flags.md"), re.MULTILINE))
    names = list_flags()
    assert len(names) > 10
    assert {"uncertain-rim", quality.Flag("volume", "").name} <= names
    assert sections == names


def test_every_error_has_an_anchor():
    page = read_page("how-to/troubleshooting.md")
    anchors = set(re.findall(r"\{#([\w-]+)\}", page))
    names = {name.lower() for name, kind in getmembers(errors, isclass)}
    assert names <= anchors


def list_messages():
    headings = re.findall(r"^### (.*?) \{#", read_page("how-to/troubleshooting.md"), re.MULTILINE)
    return [part.strip() for line in headings for part in line.split("…") if part.strip()]


@pytest.mark.parametrize("message", list_messages())
def test_every_message_of_the_troubleshooting_page_is_one_of_ours(message):
    text = re.sub(r"\"\s*\n\s*(?:f|rf)?\"", "", "\n".join(SOURCES))
    pattern = r"[^\"]{0,40}?".join(re.escape(word) for word in message.split())
    assert re.search(pattern, text, re.IGNORECASE), message


# --- numbers


def test_every_number_that_a_page_quotes_is_known():
    for page in PAGES:
        read_page(page)


def test_the_numbers_of_the_readme_are_those_of_the_pages():
    numbers, readme = site_pages.load_numbers(), (ROOT / "README.md").read_text("utf-8")
    table = readme[readme.index("## Numbers") :]
    for name in (
        *("speed.cold_s", "speed.memory_mb", "speed.batch_per_minute", "speed.deepbet_s"),
        *("accuracy.t1w_dice", "accuracy.t1w_worst", "accuracy.deepbet_t1w_dice"),
    ):
        assert re.search(rf"(?<![\d.]){re.escape(numbers[name])}(?!\d)", table), name


def test_the_numbers_in_sentences_are_those_of_the_table_of_accuracy():
    rows = site_accuracy.load_rows(DOCS / "background/accuracy.tsv")
    numbers = site_pages.load_numbers()
    for name, method in (
        ("t1w", "deskull"),
        ("deepbet_t1w", "deepbet"),
        ("robex_t1w", "ROBEX"),
        ("afni_t1w", "AFNI 3dSkullStrip (niimath)"),
    ):
        (row,) = (
            row
            for row in rows
            if (
                row["level"],
                row["data_set"],
                row["contrast"],
                row["truth"],
                row["trained_on"],
                row["method"],
            )
            == ("summary", "", "T1w", "reference", "no", method)
        )
        assert numbers[f"accuracy.{name}_dice"] == f"{float(row['dice']):.3f}"
        assert numbers[f"accuracy.{name}_worst"] == f"{float(row['dice_worst']):.3f}"


def test_the_table_of_accuracy_is_made_from_comparisons(tmp_path, monkeypatch):
    pd = pytest.importorskip("pandas")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    about = {"trained": False, "contrast": "T1w", "reference": "reference", "failed": False}
    about |= {"hd95": 2.0, "wall": 1.0, "cpu": 2.0, "peak_mb": 500, "data_set": "fs"}
    rows = [
        about | {"head": head, "method": method, "dice": value, "border +0.0": value}
        for head, values in {"fs01_T1w": (0.96, 0.95), "fs02_T1w": (0.98, 0.94)}.items()
        for method, value in zip(("deskull", "other"), values, strict=True)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "compare.tsv", sep="\t", index=False)
    table = tmp_path / "accuracy.tsv"
    accuracy = __import__("accuracy")
    accuracy.main([str(tmp_path / "compare.tsv"), "--out", str(table)])
    made = site_accuracy.load_rows(table)
    assert list(made[0]) == list(site_accuracy.load_rows(DOCS / "background/accuracy.tsv")[0])
    assert [row["dice"] for row in made] == ["0.97", "0.945"] * 2
    assert [row["dice_gain"] for row in made] == ["n/a", "-0.025"] * 2
    assert "0.970" in site_accuracy.show_accuracy(table)


# --- programs


def run_program(text, name):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(text, name, "exec"), {"__name__": "__main__"})
    return said.getvalue()


def test_the_plan_for_a_hundred_thousand_scans_runs():
    (program,) = find_blocks("how-to/cluster.md", "python")
    assert re.search(r"^\d+ core hours.*\n\d+ GB", run_program(program, "cluster.md"))


def test_the_fields_of_jobs_are_all_explained():
    page = read_page("how-to/cluster.md")
    table = page[page.index("| field |") : page.index("What is not in the file")]
    known = {*queues._REQUIRED, *queues._COMMON}.union(*queues._OF_SYSTEM.values())
    explained = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    assert set(explained) == known


def test_the_file_of_jobs_in_the_docs_is_right(tmp_path):
    (text,) = find_blocks("how-to/cluster.md", "toml")
    (tmp_path / "jobs.toml").write_text(text)
    assert queues.read_job_file(tmp_path / "jobs.toml")["jobs"] == 50


PROGRAMS = [
    (page, text)
    for page in ("start/first-scan.md", "reference/python-api.md", "how-to/python.md")
    for text in find_blocks(page, "python")
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "text"), PROGRAMS)
def test_the_programs_of_a_page_run(demo_place, page, text):
    if "torchio" in text:
        pytest.importorskip("torchio")
    run_program(text, page)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["nipype", "pydra"])
def test_programs_in_pipelines_run(demo_place, monkeypatch, page):
    pytest.importorskip(page)
    monkeypatch.setenv("NO_ET", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for text in find_blocks(f"how-to/{page}.md", "python"):
        run_program(text, page)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["index.md", "start/install.md", "start/first-scan.md"])
def test_the_console_lines_of_a_page_run(demo_place, page):
    from ball import run

    for block in find_blocks(page, "console"):
        for line in re.findall(r"^\$ deskull (.*)$", block, re.MULTILINE):
            assert run(*shlex.split(line)) == 0, line


# --- the site


@pytest.mark.parametrize("name", site_pages.GENERATORS)
def test_every_generated_part_is_used_and_made(name):
    if name == "recipes":
        pytest.importorskip("torch")
    text = "\n".join((DOCS / page).read_text("utf-8") for page in PAGES)
    assert name in site_pages.GENERATED.findall(text)
    assert len(site_pages.fill_page(f"<!-- generated: {name} -->")) > 20


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_outside(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 50
    loads = re.compile(r"<(?:script|img|link)\b[^>]*?(?:src|href)=[\"']?(https?:[^\"' >]+)")
    outside = {one for page in pages for one in loads.findall(page.read_text("utf-8"))}
    assert outside == set()
    assert not any(re.search(r"\{\{ |<!-- generated", page.read_text("utf-8")) for page in pages)

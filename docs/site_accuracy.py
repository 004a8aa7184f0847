"""The table of accuracy as figures and short tables."""

import csv
import html
from collections.abc import Iterator
from pathlib import Path

from site_tables import Row, make_table

Numbers = dict[str, str]
LEFT, WIDTH, STEP, TOP = 150, 560, 40, 34  # of the figure


def load_rows(path: Path) -> list[Numbers]:
    """Read a table of tab-separated values."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def show_accuracy(path: Path) -> str:
    """Show the table of accuracy by kind of truth: a figure and a short table of each."""
    titles = {
        "reference": "Scans with a reference mask",
        "majority": "Scans with a majority mask",
        "exact": "Synthetic heads, whose truth is exact",
    }
    parts = []
    for truth, title in titles.items():
        rows = [row for row in load_rows(path) if row["truth"] == truth]
        if not rows:
            continue
        summary = [row for row in rows if row["level"] == "summary"]
        parts += [f"## {title} {{#{truth}}}", _draw_dice(summary), _tabulate(summary)]
        sets = [row for row in rows if row["level"] == "data set"]
        if sets:
            inner = _tabulate(sets).replace("\n", "\n    ")
            parts.append(f'??? note "Each data set by itself"\n\n    {inner}')
    return "\n\n".join(parts)


def _tabulate(rows: list[Numbers]) -> str:
    head = ("heads", "scans", "method", "Dice (95 %)", "lowest", "at best border", "HD95, mm")
    names = list(dict.fromkeys(_name_heads(row) for row in rows))
    rows = sorted(rows, key=lambda row: names.index(_name_heads(row)))
    return make_table(head, [_tabulate_row(row) for row in rows])


def _tabulate_row(row: Numbers) -> Row:
    span = ""
    if row["dice_low"] != "n/a":
        span = f"&nbsp;({float(row['dice_low']):.3f}&nbsp;to&nbsp;{float(row['dice_high']):.3f})"
    numbers = [
        "" if row[name] == "n/a" else f"{float(row[name]):.{digits}f}"
        for name, digits in (("dice_worst", 3), ("dice_best_border", 3), ("hd95_mm", 1))
    ]
    failed = f" ({row['failed']} failed)" if int(row["failed"]) else ""
    return (
        _name_heads(row),
        row["scans"] + failed,
        row["method"],
        f"{float(row['dice']):.3f}{span}",
        *numbers,
    )


def _name_heads(row: Numbers) -> str:
    name = f"{row['data_set']} {row['contrast']}".strip()
    return f"{name}, trained on" if row["trained_on"] == "yes" else name


def _draw_dice(rows: list[Numbers]) -> str:
    """Draw a line per kind of heads: the mean Dice of each method, with its interval."""
    names = list(dict.fromkeys(_name_heads(row) for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    low = max(0.5, int(min(float(row["dice_low"]) for row in rows) * 20) / 20)
    height = TOP + STEP * len(names) + 30
    parts = [
        *_draw_axis(low, height),
        *_draw_key(methods),
        *(_draw_name(line, name, rows) for line, name in enumerate(names)),
    ]
    for row in rows:
        number, line = methods.index(row["method"]), names.index(_name_heads(row))
        y = TOP + STEP * (line + 0.3 + 0.4 * number / max(1, len(methods) - 1))
        start, mean, end = (_place(row[key], low) for key in ("dice_low", "dice", "dice_high"))
        parts.append(
            f'<line class="m{number}" x1="{start}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        title = html.escape(f"{row['method']} {row['dice']}")
        parts.append(f'<circle class="m{number}" cx="{mean}" cy="{y:.1f}" r="5">')
        parts.append(f"<title>{title}</title></circle>")
    label = "Mean Dice by method and kind of heads"
    head = f'<svg class="dice" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">'
    return head + "".join(parts) + "</svg>"


def _place(value: str, low: float) -> str:
    return f"{LEFT + (max(float(value), low) - low) / (1 - low) * (WIDTH - LEFT - 20):.1f}"


def _draw_axis(low: float, height: int) -> Iterator[str]:
    for tick in range(6):
        value = low + (1 - low) * tick / 5
        x = _place(str(value), low)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - 24}"/>'
        yield f'<text class="tick" x="{x}" y="{height - 8}">{value:.2f}</text>'


def _draw_key(methods: list[str]) -> Iterator[str]:
    x = 10
    for number, method in enumerate(methods):
        text = f'<text x="{x + 10}" y="18">{html.escape(method)}</text>'
        yield f'<circle class="m{number}" cx="{x}" cy="14" r="5"/>{text}'
        x += 36 + 7 * len(method)


def _draw_name(line: int, name: str, rows: list[Numbers]) -> str:
    scans = next(row["scans"] for row in rows if _name_heads(row) == name)
    place = f'x="{LEFT - 14}" y="{TOP + STEP * (line + 0.5) + 4:.0f}"'
    return f'<text class="name" {place}>{html.escape(name)} ({scans})</text>'

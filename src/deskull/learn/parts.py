"""Who learns, chooses and judges in a run: drawn once, kept in `split.json`, never mixed."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deskull.errors import InputError
from deskull.image.writing import make_folder, save_bytes
from deskull.learn.dataset import Sources, draw_parts
from deskull.learn.split import PARTS, SplitPlan

logger = logging.getLogger(__name__)
SPLIT = "split.json"


@dataclass(frozen=True)
class Parts:
    """Heads to learn from, to choose the weights by, and to judge them at the end."""

    train: Sources
    validation: Sources
    test: Sources


def settle_parts(
    folder: Path, sources: Sources, plan: SplitPlan, seed: int, writes: bool = True
) -> Parts:
    """Draw who is kept apart, or go on as the folder's run began.

    Whoever was in the run before keeps the part; persons who are new learn, for nobody who has
    been learnt from may judge.

    Parameters
    ----------
    folder
        Of the run.
    sources
        All heads.
    plan
        How persons are divided when the run begins.
    seed
        Of the draw.
    writes
        False for a process beside the one that writes.

    Raises
    ------
    InputError
        If nobody would be left to learn from or, where persons were kept apart, to judge; or
        the run was begun with another fold.
    """
    known = _read_split(folder / SPLIT)
    if known:
        _check_fold(folder, known, plan)
    parts = _go_on(folder, known, sources) if known else draw_parts(sources, plan, seed)
    settled = Parts(*(sources.take({p for p in parts if parts[p] == part}) for part in PARTS))
    if not settled.train.persons:
        raise InputError(
            f"{folder}: nobody of the run is left to learn from. Choose another --out."
        )
    if known.get("validation") and not settled.validation.persons:
        raise InputError(
            f"{folder}: nobody of those whom the run keeps apart is in the sources any more. Give "
            "them again, or choose another --out."
        )
    if writes:
        fields = known or _tell_plan(plan, seed)
        for part in PARTS:
            here = [person for person in parts if parts[person] == part]
            fields[part] = sorted({*known.get(part, ()), *here})
        make_folder(folder)
        save_bytes((json.dumps(fields, indent=1) + "\n").encode(), folder / SPLIT)
    counts = [len(part.persons) for part in (settled.train, settled.validation, settled.test)]
    logger.warning("%d persons to learn from, %d to choose the weights by, %d to test on", *counts)
    return settled


def _tell_plan(plan: SplitPlan, seed: int) -> dict[str, Any]:
    """Say how the draw was made, in the words that older runs have too."""
    fields: dict[str, Any] = {"share": plan.validation, "seed": seed}
    if plan.folds:
        return fields | {"folds": plan.folds, "fold": plan.fold}
    return fields | ({"test_share": plan.test} if plan.test else {})


def _check_fold(folder: Path, known: dict[str, Any], plan: SplitPlan) -> None:
    """Refuse to call a run of one fold that of another."""
    begun = known.get("fold", 0), known.get("folds", 0)
    if begun != (plan.fold, plan.folds):
        raise InputError(
            f"{folder}: begun with fold {begun[0]} of {begun[1]} (0 of 0: none), not "
            f"{plan.fold} of {plan.folds}. Choose another --out."
        )


def count_parts(folder: Path) -> dict[str, Any]:
    """Say how a run's persons were split, without their names; empty where it is not known."""
    split = _read_split(folder / SPLIT)
    return {k: len(v) if isinstance(v, list) else v for k, v in split.items()}


def _go_on(folder: Path, known: dict[str, Any], sources: Sources) -> dict[str, str]:
    """Part of each person of a run that goes on."""
    parts = {person: part for part in PARTS for person in known.get(part, ())}
    here = set(sources.persons)
    gone, new = sorted(set(parts) - here), sorted(here - set(parts))
    if gone:
        logger.warning(
            "%s: %d persons of this run are not in the sources: %s; going on without them",
            folder,
            len(gone),
            ", ".join(gone[:10]),
        )
    if new:
        logger.warning("%s: %d persons are new to this run; they learn", folder, len(new))
    return {person: parts.get(person, "train") for person in sorted(here)}


def _read_split(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        split = json.loads(path.read_text("utf-8"))
        if all(isinstance(split[part], list) for part in ("train", "validation")):
            return dict(split)
        problem = "train and validation are no lists"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = str(error)
    raise InputError(f"{path}: not a readable split ({problem}). Choose another --out.")

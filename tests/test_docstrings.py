"""The examples in docstrings run, and everything public has one."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import deskull

OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
API = Path(__file__).parents[1] / "docs/reference/python-api.md"
MODULES = [
    module.name
    for module in pkgutil.walk_packages(deskull.__path__, "deskull.")
    if not module.ispkg
    and not module.name.startswith(("deskull.train", "deskull.interfaces", "deskull.network.unet"))
    and module.name != "deskull.__main__"
]


def list_documented():
    """Classes and functions of the API reference; of a module all that are defined there."""
    for name in re.findall(r"^::: (deskull[\w.]+)", API.read_text("utf-8"), re.MULTILINE):
        found = pkgutil.resolve_name(name)
        if not inspect.ismodule(found):
            yield name, found
            continue
        for part, member in vars(found).items():
            is_own = getattr(member, "__module__", "") == name
            if is_own and callable(member) and not part.startswith("_"):
                yield f"{name}.{part}", member


@pytest.mark.parametrize(
    ("name", "documented"),
    [*((name, getattr(deskull, name)) for name in sorted(deskull.__all__)), *list_documented()],
)
def test_every_public_name_has_an_example(name, documented):
    _, _, examples = (documented.__doc__ or "").partition("Examples\n")
    assert doctest.DocTestParser().get_examples(examples)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed == 0

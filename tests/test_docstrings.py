"""The examples in docstrings run, and everything public has one."""

import doctest
import importlib
import pkgutil

import pytest

import deskull

OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
PUBLIC = sorted(deskull.__all__)
MODULES = [
    module.name
    for module in pkgutil.walk_packages(deskull.__path__, "deskull.")
    if not module.ispkg
    and not module.name.startswith(("deskull.train", "deskull.interfaces", "deskull.network.unet"))
    and module.name != "deskull.__main__"
]


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_has_an_example(name):
    documented = getattr(deskull, name)
    _, _, examples = (documented.__doc__ or "").partition("Examples\n")
    assert doctest.DocTestParser().get_examples(examples)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed == 0

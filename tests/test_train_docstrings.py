"""The examples in the docstrings of the training package run."""

import doctest
import importlib
import pkgutil

import pytest

pytest.importorskip("torch")
pytest.importorskip("pandas")
pytest.importorskip("onnx")

import deskull.train

MODULES = [
    f"deskull.train.{module.name}" for module in pkgutil.iter_modules(deskull.train.__path__)
]


@pytest.mark.parametrize("name", [*MODULES, "deskull.network.unet"])
def test_examples_in_docstrings_run(name):
    options = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.testmod(importlib.import_module(name), optionflags=options).failed == 0

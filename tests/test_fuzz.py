"""A short run of `fuzz_readers.py`: damaged files of every format end in an image or an error."""

import pytest

from fuzz_readers import FORMATS, make_seeds, read_and_write, run_case, supervise

SEED = 7


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return make_seeds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_damaged_files_end_in_an_image_or_in_one_of_our_errors(seeds, tmp_path, first):
    found = []
    for number in range(first, first + 50):
        found += run_case(seeds, SEED, number, tmp_path)[2]
    assert found == []


@pytest.mark.parametrize("kind", FORMATS)
def test_undamaged_files_are_read(tmp_path, kind):
    name, write, _ = FORMATS[kind]
    write(tmp_path / name)
    assert read_and_write(tmp_path / name, 0, tmp_path) == "read"


@pytest.mark.slow
def test_more_damaged_files_in_a_process_that_may_not_take_much(tmp_path):
    assert supervise(SEED + 1, 2000, tmp_path) == 0

# Few targets: make test is what CI runs first, make slow what it runs after.
.PHONY: setup test slow format

setup:
	pip install -e '.[dev]'

test:
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	pytest --cov=deskull --cov-report= --cov-fail-under=90

slow:
	pytest -m slow

format:
	ruff check --fix .
	ruff format .

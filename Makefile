# Few targets: make test is what CI runs first, make slow what it runs after, make web the page, make docs the site.
.PHONY: setup test slow web docs format

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

web:
	cd web && npm ci --no-audit --no-fund && npm run build && npm test && npm run e2e

docs:
	mkdocs build --strict

format:
	ruff check --fix .
	ruff format .

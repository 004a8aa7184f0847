# Few targets: make test is what CI runs first, make slow what it runs after, make web the page, make docs the site.
.PHONY: setup lint test slow docs web format

setup:
	pip install -e '.[dev]'

lint:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test: lint
	pytest --cov --cov-report=

slow:
	pytest -m slow

docs:
	mkdocs build --strict

web:
	cd web && npm ci --no-audit --no-fund && npm run build && npm test && npm run e2e

format:
	ruff check --fix .
	ruff format .

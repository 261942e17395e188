# Every target needs nothing but Python >= 3.11, make, git and the ordinary package registries.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check fix bench bench-quick build clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install everything into .venv, exactly as locked
	@scripts/setup.sh

demo: setup ## Watch real traffic balanced over three servers while one dies and comes back
	@.venv/bin/seawall demo

test: setup ## Run every test with coverage (starts and stops a redis-server of its own)
	@scripts/debian.sh redis-server redis-server chromium chromium
	@.venv/bin/poe -q test

check: setup ## Lint, types, import contracts, lock, changelog fragments, links of the docs
	@.venv/bin/poe -q check

fix: setup ## Apply what the formatter and the linter can repair
	@.venv/bin/poe -q fix

bench: setup ## Measure side by side with real peers (full length)
	@scripts/debian.sh wrk wrk nginx nginx redis-server redis-server
	@.venv/bin/poe -q bench

bench-quick: setup ## The same, each script under a minute
	@scripts/debian.sh wrk wrk nginx nginx redis-server redis-server
	@.venv/bin/poe -q bench-quick

build: setup ## Build wheel and sdist, check them, install the wheel into an empty environment
	@scripts/build.sh

clean: ## Remove what the other targets made
	@rm -rf .venv .uv .cache .coverage .coverage.* coverage.xml htmlcov dist build site
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	@find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

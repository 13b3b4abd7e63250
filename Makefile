# make demo: one training step of ResNet-18, with its tables and timeline.
# make test: the gate, the same here and in CI. Both set up .venv first, once.

PYTHON ?= python3
BIN := .venv/bin
LINTED := accelsim tests benchmarks workloads

.PHONY: demo test setup lint
.DELETE_ON_ERROR:

setup: .venv/.stamp

.venv/.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("accelsim needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/.stamp
	$(BIN)/accelsim run tpu-like-hybrid resnet18-cifar --batch 32 --out runs/demo --force
	$(BIN)/accelsim timeline runs/demo

lint: .venv/.stamp
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/.stamp
	@git diff HEAD 2>/dev/null >.venv/before.diff || true
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n auto --dist worksteal
	@git diff HEAD 2>/dev/null >.venv/after.diff || true
	@cmp -s .venv/before.diff .venv/after.diff || { echo "make test: a tracked file changed while testing"; git status --short; exit 1; }

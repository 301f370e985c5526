# make demo   the main job on a small embedded default: scenes, databases, nets, training, maps, score, report
# make test   all tests but the long ones
# make test-long  every byte of a file of each kind, every write that fails, and most properties with
#             50 times as many inputs (never yet timed as a whole)
# make real   the same way on the real scenes that DFCNET_DATA points to (about half an hour on 2 cores)
# make bench  speed and memory: of data preparation, against decoding alone and a plain loop (7 minutes);
#             of prediction and training, against PyTorch, onnxruntime and OpenVINO where they are installed
# make nets   the committed prototxts of the paper's experiments, emitted again
# make caffe  BVLC Caffe and the Python environment alone: the set-up that the others do first
# make caffe-cuda   the same for NVIDIA GPUs; the other targets then use it. Needs no GPU itself
# make gpu-check    does everything work on this machine's GPUs, and how fast
# make gpu-bundle   dfcnet-gpu.tar.xz: what gpu-check needs on a machine without package access
# make lock   requirements/locked.txt from pyproject.toml: all Python packages, by checksum

PYTHON3 ?= /usr/bin/python3
PY := .venv/bin/python
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: demo real test test-long bench caffe caffe-cuda gpu-check gpu-bundle lock venv lint nets

# What differs between the two runs: folders of scenes, records per scene (crop and the rest stand in
# solvers/dfcnet_demo and solvers/dfcnet_real), and how many times better than
# always predicting the commonest class the maps must be.
demo_land := runs/demo/scenes/land
demo_road := runs/demo/scenes/road
demo_variants := 16
real_land := "$(DFCNET_DATA)/deepglobe/land_256/train"
real_road := "$(DFCNET_DATA)/massachusetts/road_512/train" "$(DFCNET_DATA)/deepglobe/road/train"
real_variants := 24
demo_at_least := 3
real_at_least := 2
hold_out := 5# every fifth scene, by id sorted as text, is for testing

demo: runs/demo/scenes/done
	@$(MAKE) --no-print-directory runs/demo/comparison.png runs/demo/report.html
	cat runs/demo/score.txt
	echo "runs/demo/comparison.png: image, ground truth and DFCNet's map, side by side"
	echo "runs/demo/report.html: all of the run in one page"

real:
	@[[ -d "$(DFCNET_DATA)" ]] || { echo "real: DFCNET_DATA='$(DFCNET_DATA)': is not a folder; set it to the real scenes" >&2; exit 2; }
	$(MAKE) --no-print-directory caffe
	$(MAKE) --no-print-directory runs/real/comparison.png runs/real/report.html
	cat runs/real/score.txt
	echo "runs/real/comparison.png: image, ground truth and DFCNet's map, side by side"
	echo "runs/real/report.html: all of the run in one page"

test: caffe
	@native/packages.sh native/packages/test.txt
	OMP_WAIT_POLICY=passive $(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal

test-long: caffe
	@export OMP_WAIT_POLICY=passive
	$(PY) -m pytest -n auto --maxprocesses 2 -m long
	$(PY) -m pytest -n auto --maxprocesses 2 --timeout 1800 --hypothesis-profile long tests/*/test_*_properties.py

bench: caffe
	@for script in benchmarks/bench_*.py; do $(PY) "$$script"; done

lint: venv
	@$(PY) -m ruff check .
	$(PY) -m ruff format --check .

caffe: venv
	@native/build.sh

caffe-cuda: venv
	@native/build.sh --cuda
	$(PY) docker/smoke.py

gpu-check: venv
	@$(PY) tools/gpu_check.py

gpu-bundle: venv
	@PYTHON3=$(PYTHON3) gpu_check/bundle.sh

lock:
	@PYTHON3=$(PYTHON3) requirements/lock.sh

venv:
	@PYTHON3=$(PYTHON3) requirements/venv.sh

runs/demo/scenes/done: | caffe
	@echo "== synthetic scenes"
	$(PY) tools/make_scenes.py --out runs/demo/scenes --land 30 --road 24 --size 384 --seed 1 --overwrite
	touch $@

# The databases follow the settings above.
runs/%/land_train_lmdb/data.mdb: Makefile
	@echo "== LMDB of land cover"
	rm -rf runs/$*/train    # what was trained on other records
	$(PY) tools/build_lmdb.py dfcnet_$* land --images $($*_land) --variants $($*_variants) \
	    --hold-out $(hold_out) --seed 1 --overwrite

runs/%/road_train_lmdb/data.mdb: Makefile
	@echo "== LMDB of roads"
	rm -rf runs/$*/train
	$(PY) tools/build_lmdb.py dfcnet_$* road --images $($*_road) --variants $($*_variants) --seed 1 --overwrite

runs/%/train/weights.caffemodel: solvers/dfcnet_%/experiment.toml runs/%/land_train_lmdb/data.mdb runs/%/road_train_lmdb/data.mdb
	@echo "== training"
	$(PY) tools/train.py dfcnet_$* --cpu --run $(@D) --resume --overwrite

# Scores of an older version are made again: the report reads their numbers.
runs/%/score.txt: runs/%/train/weights.caffemodel evaluation/score_files.py
	@echo "== maps of the held-out scenes"
	rm -rf runs/$*/maps
	$(PY) tools/predict.py --run $(<D) --out runs/$*/maps \
	    --hold-out $(hold_out) --overwrite $($*_land)
	$(PY) tools/evaluate.py --truth $($*_land) --pred runs/$*/maps --hold-out $(hold_out) \
	    --at-least $($*_at_least) --json runs/$*/score.json --overwrite >$@

runs/%/comparison.png: runs/%/score.txt
	@$(PY) tools/figure.py compare --images $($*_land) --truth $($*_land) --pred runs/$*/maps \
	    --names DFCNet --out $@ --rows 4 --overwrite

runs/%/report.html: runs/%/score.txt
	@$(PY) tools/report.py runs/$*/train --scores runs/$*/score.json --images $($*_land) --truth $($*_land) \
	    --pred runs/$*/maps --out $@ --overwrite

# The prototxts of the paper's experiments, and the drawing, stand in the repository: a diff shows what
# a change does to a net.
nets: venv
	@for name in baseline classmate dfcnet; do $(PY) tools/make_net.py $$name --overwrite; done
	$(PY) tools/make_net.py dfcnet --draw docs/dfcnet.svg --overwrite

# From the table that the report shows too.
docs/deviations.md: evaluation/page/deviations.toml | venv
	@$(PY) -m evaluation.page.deviations >$@

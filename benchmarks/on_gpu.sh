#!/usr/bin/env bash
# Try and measure on one CUDA card all that needs one, in at most 8 minutes: bash benchmarks/on_gpu.sh
# The tests marked gpu; the step of the recipe as a loop, compiled and as recorded graphs; ranking and re-ranking.
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
timeout 180 "$PYTHON" -m pytest -q -m gpu tests
step() {
    echo "== $*"
    timeout 90 "$PYTHON" -m benchmarks.full_model --repeats 20 "$@"
}
step SOLVER.PRECISION fp16
step SOLVER.PRECISION bf16
step SOLVER.PRECISION bf16 SOLVER.CUDA_GRAPHS True
step SOLVER.PRECISION bf16 MODEL.COMPILE True
step SOLVER.PRECISION bf16 MODEL.COMPILE True SOLVER.CUDA_GRAPHS True
timeout 120 "$PYTHON" -m benchmarks.ranking --device cuda --without_peer --queries 50000 --gallery 500000 --width 512 --repeats 1
timeout 60 "$PYTHON" -m benchmarks.ranking --device cuda --re_rank --without_peer --queries 3023 --gallery 2751

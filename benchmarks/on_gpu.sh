#!/usr/bin/env bash
# Try and measure on one CUDA card all that needs one, in at most 8 minutes: bash benchmarks/on_gpu.sh
# The tests marked gpu; the step of the recipe as a loop, as recorded graphs and compiled; re-ranking and ranking.
# What may take longest comes last. No card has run it yet.
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
run() {  # MAX_SECONDS MODULE OPTION..., within what is left of the 8 minutes
    local limit=$1 left=$((480 - SECONDS))
    shift
    echo "== $*"
    if ((left <= 0)); then echo "no time left"; return; fi
    timeout $((left < limit ? left : limit)) "$PYTHON" -m "$@" || echo "failed or stopped: status $?"
}
step() { run 120 benchmarks.full_model --repeats 20 "$@"; }
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
run 150 pytest -q -m gpu tests
step SOLVER.PRECISION fp16
step SOLVER.PRECISION bf16
step SOLVER.PRECISION bf16 SOLVER.CUDA_GRAPHS True
step SOLVER.PRECISION bf16 MODEL.COMPILE True
step SOLVER.PRECISION bf16 MODEL.COMPILE True SOLVER.CUDA_GRAPHS True
run 60 benchmarks.ranking --device cuda --re_rank --without_peer --queries 3023 --gallery 2751
run 200 benchmarks.ranking --device cuda --without_peer --queries 50000 --gallery 500000 --width 512 --repeats 1

#!/bin/sh
# Trains the submitted CORONet from the images alone. From the repository's root:
#
#   pipeline/experiments/best_model/run.sh DATA WORK TORCH_PYTHON
#
# DATA: folder of cxr4. WORK: folder to write. TORCH_PYTHON: the interpreter of an environment
# with pipeline/experiments/best_model/requirements.txt. Took about an hour of two cores.
# FOLD=0 trains the validated twin, which leaves one fold of patients out throughout.
set -eu
data=$1 work=$2 torch=$3 fold=${FOLD:--1}
package=pipeline.experiments.best_model
student() { "$torch" -m $package.train student --work "$work" "$@"; }

.venv/bin/python -m $package.prepare --data "$data" --work "$work"
"$torch" -m $package.train teacher --work "$work" --output "$work/teacher" --fold 0 --seed 0
student --output "$work/base" --fold 0 --size 128 --epochs 24 --seed 0
taught="--teacher lite0:$work/teacher/weights.pt --fold $fold"
student --output "$work/1" $taught --initial "$work/base/weights.pt" \
    --size 128 --epochs 14 --stop-after 2 --rate 1e-3 --seed 1
student --output "$work/2" $taught --initial "$work/1/weights.pt" \
    --size 200 --epochs 5 --rate 6e-4 --seed 2
student --output "$work/3" $taught --initial "$work/2/weights.pt" \
    --size 200 --epochs 8 --rate 8e-4 --seed 3
student --output "$work/4" $taught --initial "$work/3/weights.pt" \
    --size 200 --epochs 14 --stop-after 2 --rate 1e-3 --seed 4
student --output "$work/5" $taught --initial "$work/4/weights.pt" \
    --size 200 --epochs 6 --rate 8e-4 --hint 0 --seed 5
"$torch" -m $package.recalibrate --work "$work" --weights "$work/5/weights.pt" \
    --output "$work/recalibrated.pt" --fold "$fold"
"$torch" -m $package.untie --weights "$work/recalibrated.pt" --output "$work/weights.npz"
.venv/bin/python -m $package.export --weights "$work/weights.npz" \
    --output "$work/coronet.keras" --work "$work" --submission "$work/submission.csv"

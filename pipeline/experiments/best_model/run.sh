#!/bin/sh
# Trains the submitted CORONet from the images alone. From the repository's root:
#
#   pipeline/experiments/best_model/run.sh DATA WORK TORCH_PYTHON
#
# DATA: folder of cxr4. WORK: folder to write. TORCH_PYTHON: the interpreter of an environment
# with pipeline/experiments/best_model/requirements.txt. Took some two and a half hours of one core; a
# stage that is there already is not run again.
# FOLD=0 trains the validated twin, which leaves one fold of patients out throughout.
set -eu
data=$1 work=$2 torch=$3 fold=${FOLD:--1}
package=pipeline.experiments.best_model
mkdir -p "$work"

# once FILE COMMAND...: the command writes FILE as its last act.
once() {
    file=$1
    shift
    [ -e "$file" ] || "$@"
}
# stage NAME EPOCHS ARGUMENTS...: a training run is whole when its history is.
stage() {
    name=$1 epochs=$2
    shift 2
    [ "$(cat "$work/$name/history.jsonl" 2>/dev/null | wc -l)" -ge "$epochs" ] && return
    rm -rf "${work:?}/$name"
    "$torch" -m $package.train "$@" --epochs "$epochs" --work "$work" --output "$work/$name"
}

once "$work/test.npz" .venv/bin/python -m $package.prepare --data "$data" --work "$work"

# Teachers, and the student's first steps, never see the fold that validates.
stage teacher-1 14 teacher --kind lite0 --fold 0 --seed 1
stage teacher-2 12 teacher --kind lite2 --fold 0 --seed 2
for teacher in 1:lite0 2:lite2; do
    folder=$work/teacher-${teacher%:*}
    once "$folder/soft_labels.npz" "$torch" -m $package.soft_labels --work "$work" --fold 0 \
        --teacher "${teacher#*:}:$folder/weights.pt" --output "$folder/soft_labels.npz"
done
once "$work/unseen$fold.npz" "$torch" -m $package.feature_teacher --work "$work" \
    --fold "$fold" --output "$work/unseen$fold.npz"
stage base 24 student --fold 0 --size 128 --seed 0
first="--soft-labels $work/teacher-1/soft_labels.npz"
stage taught 60 student --fold 0 --size 128 --rate 1e-3 --seed 1 \
    --initial "$work/base/weights.pt" $first

# At full size, on all the images (or on all but the fold).
taught="$first --soft-labels $work/teacher-2/soft_labels.npz --unseen $work/unseen$fold.npz"
full="--fold $fold --mixes-fold 0 --size 200"
stage "full$fold" 28 student $full --rate 5e-4 --seed 2 \
    --initial "$work/taught/weights.pt" $taught
# Training saw shifted, mixed and brightened pictures; serving will not.
"$torch" -m $package.recalibrate --work "$work" --fold "$fold" \
    --weights "$work/full$fold/weights.pt" --output "$work/recalibrated.pt"
"$torch" -m $package.untie --weights "$work/recalibrated.pt" --output "$work/weights.npz"
.venv/bin/python -m $package.export --weights "$work/weights.npz" \
    --output "$work/coronet.keras" --work "$work" --submission "$work/submission.csv"

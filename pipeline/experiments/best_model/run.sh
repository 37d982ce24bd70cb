#!/bin/sh
# Trains the submitted CORONet from the images alone. From the repository's root:
#
#   pipeline/experiments/best_model/run.sh DATA WORK TORCH_PYTHON
#
# DATA: labelled images, as cxr4. WORK: folder to write. TORCH_PYTHON: the interpreter of an environment
# with pipeline/experiments/best_model/requirements.txt. Hours of one core; a stage that is there
# already is not run again, and one that was cut off goes on after its last epoch.
# FOLD=0 trains only the validated twin, which leaves one fold of patients out throughout.
# REHEARSAL=1 is one epoch a stage and few pictures: whether all of it goes through, on new data or
# a new machine, before it takes hours. What comes out is no model.
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
    name=$1 epochs=${REHEARSAL:+1}
    epochs=${epochs:-$2}
    shift 2
    [ "$(cat "$work/$name/history.jsonl" 2>/dev/null | wc -l)" -ge "$epochs" ] && return
    "$torch" -m $package.train "$@" --epochs "$epochs" --work "$work" --output "$work/$name"
}
# lessons NAME KIND [--detail]: what a network says about the student's pictures.
lessons() {
    folder=$work/$1 kind=$2
    shift 2
    once "$folder/soft_labels.npz" "$torch" -m $package.soft_labels "$@" --work "$work" --fold 0 \
        ${REHEARSAL:+--views 2 --mixes 200} --teacher "$kind:$folder/weights.pt" \
        --output "$folder/soft_labels.npz"
}
# full NAME EPOCHS FOLD SEED INITIAL TEACHERS...: a student at full size, on all but the fold.
# The classical teacher always is one of them.
full() {
    name=$1 epochs=$2 left=$3 seed=$4 initial=$5
    shift 5
    for teacher in "$@"; do
        case $teacher in
            crossed) set -- "$@" --unseen "$work/crossed.npz" ;;
            *) set -- "$@" --soft-labels "$work/$teacher/soft_labels.npz" ;;
        esac
        shift
    done
    once "$work/unseen$left.npz" "$torch" -m $package.feature_teacher --work "$work" \
        --fold "$left" --output "$work/unseen$left.npz"
    stage "$name$left" "$epochs" student --fold "$left" --mixes-fold 0 --size 200 --rate 5e-4 \
        --seed "$seed" --initial "$work/$initial/weights.pt" --unseen "$work/unseen$left.npz" "$@"
}

# Every time: it refuses a folder that was made from other images.
.venv/bin/python -m $package.prepare --data "$data" --work "$work"

# Teachers, and the student's first steps, never see the fold that validates.
stage small-1 14 teacher --kind lite0 --fold 0 --seed 1
stage small-2 12 teacher --kind lite2 --fold 0 --seed 2
stage large-1 14 teacher --kind lite0 --fold 0 --seed 5 --detail --size 320
stage large-2 10 teacher --kind lite2 --fold 0 --seed 6 --detail --size 320
lessons small-1 lite0
lessons small-2 lite2
lessons large-1 lite0 --detail
lessons large-2 lite2 --detail
stage base 24 student --fold 0 --size 128 --seed 0
stage taught 60 student --fold 0 --size 128 --rate 1e-3 --seed 1 \
    --initial "$work/base/weights.pt" --soft-labels "$work/small-1/soft_labels.npz"

# The twin of the first student at full size then is a teacher itself.
full full 28 0 2 taught small-1 small-2
lessons full0 coronet
full full 28 "$fold" 2 taught small-1 small-2
full again 34 "$fold" 7 "full$fold" small-2 large-1 large-2 full0

# Of an image that it trained on a network says little but the label: each fold is asked of one
# that was trained without it, and the fold that validates of those that all were.
for left_out in 1 2 3 4; do
    stage crossed-$left_out 10 teacher --kind lite2 --fold 0 --left-out $left_out \
        --seed 1$left_out --detail --size 288
done
once "$work/crossed.npz" "$torch" -m $package.crossed_teacher --work "$work" --fold 0 \
    --teacher "1:lite2:$work/crossed-1/weights.pt" --teacher "2:lite2:$work/crossed-2/weights.pt" \
    --teacher "3:lite2:$work/crossed-3/weights.pt" --teacher "4:lite2:$work/crossed-4/weights.pt" \
    --soft-labels "$work/small-2/soft_labels.npz" --soft-labels "$work/large-1/soft_labels.npz" \
    --soft-labels "$work/large-2/soft_labels.npz" --detail --size 288 \
    ${REHEARSAL:+--views 2} --output "$work/crossed.npz"
full last 26 "$fold" 9 "again$fold" large-2 full0 crossed

# Training saw shifted, mixed and brightened pictures; serving will not.
"$torch" -m $package.recalibrate --work "$work" --fold "$fold" \
    --weights "$work/last$fold/weights.pt" --output "$work/recalibrated.pt"
"$torch" -m $package.untie --weights "$work/recalibrated.pt" --output "$work/weights.npz"
if [ -e "$work/test.npz" ]; then
    set -- --work "$work" --submission "$work/submission.csv"
else # nothing to predict
    set --
fi
.venv/bin/python -m $package.export --weights "$work/weights.npz" \
    --output "$work/coronet.keras" "$@"

#!/bin/sh
# The main job on the bundled footage: preprocess, train, generate. Arguments (key=value) go to the training.
set -eu
cd "$(dirname "$0")/.."
# Let Python keep libraries compiled, even where it is told not to: else each command spends seconds on it.
export PYTHONDONTWRITEBYTECODE=
# Without a GPU two processes of one thread each: small networks gain little from a second thread.
processes=2
if nvidia-smi -L >/dev/null 2>&1; then processes=1; fi
python tools/preprocess.py tests/data/big_buck_bunny_trailer.mp4 --output runs/quickstart/data \
    height=36 width=64 views.clip_frames=8 views.full_frames=32 text.detector=opencv
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} torchrun --standalone --nproc-per-node "$processes" \
    tools/train.py --config configs/quickstart.yaml "$@"
python tools/generate.py --run runs/quickstart --frames 64 --steps 12 --sampler dpm2m \
    --output runs/quickstart/sample.mp4

#!/bin/sh
# The main job on the bundled footage: preprocess, train, generate. Arguments (key=value) go to the training.
set -eu
cd "$(dirname "$0")/.."
python tools/preprocess.py tests/data/big_buck_bunny_trailer.mp4 --output runs/quickstart/data \
    height=36 width=64 views.clip_frames=8 views.full_frames=32 text.detector=opencv
deepspeed tools/train.py --config configs/quickstart.yaml "$@"
python tools/generate.py --run runs/quickstart --frames 64 --steps 12 --output runs/quickstart/sample.mp4

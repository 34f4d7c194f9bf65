"""Frozen networks as compiled graphs, from which a sampler makes the same videos."""

import json
import subprocess
import sys

from vidboot.networks.compiled import has_compiler

# In a process of its own: the run-time check of shapes, which tests have, can't be compiled.
SAMPLED = """
import json, logging, sys, torch
from torch._dynamo.utils import counters
from vidboot.config import RunConfig
from vidboot.generation.sampling import generate_videos
from vidboot.model.video_model import VideoModel, view_network
from vidboot.settings import check_settings

network = {"channels": 8, "multipliers": [1]}
clip = {"num_frames": 4, "overlap": 2, "network": network, "train": {"steps": 1, "batch_size": 1}}
video = {"num_frames": 22, "height": 8, "width": 8, "overlap": 4}
settings = {"run_dir": "run", "data": {"manifest": "data"}, "video": video, "clip": clip}
settings |= {"low_res": [], "residual": None, "calibration": None}
config = check_settings(RunConfig, settings, "settings")
torch.manual_seed(0)
made = view_network(config, config.clip).eval().requires_grad_(False)
for parameter in made.parameters():
    parameter.add_(0.05 * torch.randn_like(parameter))
model = VideoModel(config, {"clip": made})

def compare(compiled, num_frames):
    ours, eager = (generate_videos(m, num_frames, [0], steps=2) for m in (compiled, model))
    return float((ours - eager).norm() / eager.norm()), counters["stats"]["unique_graphs"]

def broken(graph, inputs):
    raise RuntimeError("no compiler is here")

compiled = model.compiled("aot_eager")
# Clips of 4 frames and their overlaps of 2: 9 and 8 of them, then 10 and 9.
found = [compare(compiled, 20), compare(compiled, 22), dict(counters["graph_break"])]
torch._dynamo.reset()
failing = model.compiled(broken)
print(json.dumps([*found, [compare(failing, 22)[0] for _ in range(2)]]))
"""


def test_one_graph_samples_the_same_videos_of_any_length_and_without_a_compiler_sampling_goes_on():
    done = subprocess.run([sys.executable, "-c", SAMPLED], capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    (apart, graphs), (longer_apart, longer_graphs), breaks, failing = json.loads(done.stdout.splitlines()[-1])
    assert max(apart, longer_apart) < 1e-5
    assert graphs == longer_graphs == 1
    assert not breaks
    assert failing == [0, 0]
    said = [line for line in done.stderr.splitlines() if "torch.compile" in line]
    assert len(said) == 1
    assert said[0].startswith("torch.compile doesn't work here (")
    assert "no compiler is here" in said[0]
    assert said[0].endswith("sampling goes on without it")


def test_without_a_gpu_a_sentence_says_that_it_goes_on_without(caplog):
    assert not has_compiler("sampling")
    assert caplog.messages == ["torch.compile is for GPUs: sampling goes on without it"]

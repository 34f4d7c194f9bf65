"""On a real GPU (`pytest -m gpu`): agreement with the CPU, bf16, compiled graphs, and a run with all stages."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from small_model import small_model

import vidboot
from vidboot.method.network_inputs import NetworkInputs
from vidboot.model.video_model import VideoModel
from vidboot.networks.precision import in_bf16

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
X, SIGMA = torch.randn(2, 3, 12, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 2.0])


@pytest.fixture(autouse=True)
def exact():
    """No TF32."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = False
    yield
    matmul.allow_tf32, convolution.allow_tf32 = before


def apart(a, b):
    return float((a.cpu() - b).norm() / b.norm())


def gradients(network):
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def test_predictions_and_gradients_are_those_of_the_cpu():
    model = small_model()
    for denoise in (model.base, model.full, model.denoise):
        on_cpu = denoise(X, SIGMA)
        model.to("cuda")
        assert apart(denoise(X.cuda(), SIGMA.cuda()), on_cpu) < 1e-4
        model.to("cpu")
    network = model.residual.requires_grad_(True)
    moved = copy.deepcopy(network).cuda()
    network(X, SIGMA, inputs=NetworkInputs(base=X)).square().mean().backward()
    moved(X.cuda(), SIGMA.cuda(), inputs=NetworkInputs(base=X.cuda())).square().mean().backward()
    assert apart(gradients(moved).cpu(), gradients(network)) < 1e-4


def test_bf16_is_near_float32():
    model = small_model()
    on_cpu = model.full(X, SIGMA)
    views = {name: in_bf16(network).cuda() for name, network in model.views.items()}
    rounded = VideoModel(model.config, views, in_bf16(model.residual).cuda(), model.gate)
    assert 0 < apart(rounded.full(X.cuda(), SIGMA.cuda()), on_cpu) < 0.05


# In a process of its own: the run-time check of shapes, which tests have, can't be compiled.
COMPILED = """
import json, torch
from small_model import small_model
from vidboot.training.computing import ComputedNetwork
network = small_model().views["clip"].requires_grad_(True).cuda()
x, sigma = torch.randn(2, 3, 4, 8, 8, device="cuda"), torch.tensor([0.3, 2.0], device="cuda")
found = []
for bf16 in (False, True):
    eager, compiled = ComputedNetwork(network, bf16), ComputedNetwork(network, bf16)
    compiled.compile_for(4)
    rows = []
    for computed in (compiled, eager):
        network.zero_grad()
        y = computed(x, sigma)
        y.square().mean().backward()
        gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        rows.append(torch.cat([y.detach().flatten(), *gradients]))
    found.append([float((rows[0] - rows[1]).norm() / rows[1].norm()), compiled.graph.works])
print(json.dumps(found))
"""


def test_a_compiled_step_is_the_eager_one():
    folder = str(vidboot.__file__).removesuffix("vidboot/__init__.py") + "tests/vidboot"
    code = f"import sys; sys.path.insert(0, {folder!r})" + COMPILED
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    (exact, made), (rounded, made_too) = json.loads(done.stdout.splitlines()[-1])
    assert made and made_too
    assert exact < 1e-3
    assert rounded < 0.05


def test_a_run_in_bf16_goes_on_where_it_was_stopped_and_generates(tiny_config, tmp_path, tool):
    precision = "deepspeed.precision=bf16"
    first = tool("train", "--config", tiny_config, precision, "--stage", "clip")
    assert first.returncode == 0, first.stdout + first.stderr
    (tmp_path / "run" / "clip" / "model.safetensors").unlink()
    rest = tool("train", "--config", tiny_config, precision)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    assert "clip: goes on from the checkpoint at step 6 of 6" in rest.stdout
    assert list(json.loads((tmp_path / "run" / "results.json").read_text())["rows"])[-1] == "base + residual"
    model = vidboot.load(tmp_path / "run", "cuda").frozen()
    assert next(model.views["clip"].parameters()).dtype == torch.bfloat16
    assert vidboot.generate(model, 12, steps=2).isfinite().all()

"""The shipped configurations at full size on a GPU that isn't there: for each stage a step, errors and a sample.

The program's own code runs on fake CUDA tensors, which have shapes, types and devices, and no values; a tensor on the
wrong device is an error, as on a GPU. Backward passes of these want a GPU, so a whole step runs on `meta` tensors,
which have no device to be wrong.
"""

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import Dataset

from vidboot import distributed
from vidboot.config import RunConfig
from vidboot.method.calibration import Calibration, visible
from vidboot.method.gate import OPEN
from vidboot.method.samplers import initial_state, sample_heun
from vidboot.model.video_model import VideoModel, view_network
from vidboot.networks.attention import MAX_CUDA_BATCH
from vidboot.networks.precision import in_bf16
from vidboot.settings import load_settings
from vidboot.training.batch import Batch
from vidboot.training.computing import ComputedNetwork
from vidboot.training.engine import batch_per_process, micro_batch
from vidboot.training.estimate import video_shape
from vidboot.training.held_out import HeldOut, HeldOutWindows
from vidboot.training.low_res_loss import view_loss
from vidboot.training.machine import CARDS, FILLED
from vidboot.training.network_training import NetworkTraining
from vidboot.training.networks import unet_of
from vidboot.training.optimizer import EMA, L2SPAdamW
from vidboot.training.residual_loss import residual_loss
from vidboot.training.residual_stage import ResidualStage
from vidboot.training.simulation import Simulation, fused_attention
from vidboot.training.stages import stages_of
from vidboot.training.step import TrainStep

CONFIGS = Path(__file__).parents[3] / "configs"
ON = {"one_gpu": ("rtx4090", 1), "long_video": ("a100-40gb", 8), "cluster": ("a100-80gb", 32)}
"""The card and the number of processes that each configuration names."""
ATEN = torch.ops.aten
MOST_ELEMENTS = 2**31 - 1
"""Kernels that count in 32 bits refuse more, among them the backward pass of `interpolate` (measured on an H100)."""


def _to_cpu(options):
    return torch.device((options or {}).get("device") or "meta").type == "cpu"


class Card(Simulation):
    """What is alive on a card, and the largest tensor and attention batch that a kernel was given.

    Where the program asks a tensor for a value, it gets 1 or true; where it copies one from `meta`, zeros.
    """

    def __init__(self):
        super().__init__()
        self.largest, self.attention_batch = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is ATEN._local_scalar_dense.default:
            return {torch.bool: True, torch.int64: 1}.get(args[0].dtype, 1.0)
        if func is ATEN.index.Tensor and getattr(args[1][0], "dtype", None) == torch.bool:
            return args[0].clone()  # all items are meant
        if func is ATEN.nonzero.default:
            return args[0].new_empty((0, args[0].dim()), dtype=torch.long)  # none is not
        if func is ATEN._to_copy.default and args[0].device.type == "meta" and _to_cpu(kwargs):
            return torch.zeros(args[0].shape, dtype=args[0].dtype)
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if not func.is_view:
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
            self.largest = max([self.largest, *(t.numel() for t in tensors if t.device.type != "cpu")])
        if "scaled_dot_product" in func.name():
            self.attention_batch = max(self.attention_batch, len(args[0]))
        return out

    def _note(self, tensor):
        if tensor.device.type != "cpu":
            super()._note(tensor)


@pytest.fixture
def card(monkeypatch):
    """Puts the program on a fake GPU, as one of the processes that a configuration is for."""

    @contextmanager
    def made(kind, processes):
        replaced = {"device": lambda: torch.device(kind), "world_size": lambda: processes}
        for name, module in list(sys.modules.items()):
            for function, new in replaced.items():
                if name.startswith("vidboot.") and hasattr(module, function):
                    monkeypatch.setattr(module, function, new)
        # A copy of a buffer would be of another mode.
        monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda mode, memo: mode, raising=False)
        with FakeTensorMode() if kind == "cuda" else nullcontext(), fused_attention(), Card() as card:
            yield card

    return made


class Engine:
    """What a step asks of DeepSpeed's engine, in one process."""

    def __init__(self, network, optimization, pull):
        self.module = ComputedNetwork(network, bf16=True)
        # The fused kernel wants a GPU.
        self.optimizer = L2SPAdamW(self.module.parameters(), optimization.learning_rate, pull=pull, fused=False)

    def __call__(self, x, sigma, /, inputs):
        return self.module(x, sigma, inputs)

    def train(self):
        self.module.train()

    def backward(self, loss):
        loss.backward()

    def set_gradient_accumulation_boundary(self, is_boundary):
        self.is_boundary = is_boundary

    def step(self):
        if self.is_boundary:
            self.optimizer.step()
            self.optimizer.zero_grad()


def batch(stage, count, num_frames):
    """Samples of a stage, all of them unmasked."""
    shape = (count, *video_shape(stage.config, num_frames, stage.scale))
    mask = torch.ones(count, 1, *shape[2:], dtype=torch.bool, device=distributed.device())
    x0, noise, sigma = (torch.empty(size, device=distributed.device()) for size in (shape, shape, shape[:1]))
    return Batch(x0, mask, mask, sigma, noise, list(range(count)), [""] * count)


def model_of(config, networks=(), residual=None):
    """A model with every estimate in each band of its base."""
    if not networks:
        with distributed.device():
            networks = [in_bf16(view_network(config, view)) for view in config.views.values()]
    made = dict(zip(config.views, networks, strict=True))
    bands = tuple(dict.fromkeys(visible(config.plan, n), 0.1) for n in range(len(config.plan.scales)))
    return VideoModel(config, made, residual, OPEN, Calibration(config.plan, (1.0,), (bands,)))


def training_of(stage, network, base):
    """The stage's training, without data."""
    residual = isinstance(stage, ResidualStage)
    loss = residual_loss(base, stage.residual, 0.5) if residual else view_loss(0.5)
    settings = {"optimization": stage.optimization, "noise": stage.config.noise, "loss": loss}
    return NetworkTraining(name=stage.name, network=network, dataset=Dataset(), evaluate=dict, sample=print, **settings)


def a_step(stage, base):
    """A step at the longest frame count, of at most two micro-batches."""
    optimization, num_frames = stage.optimization, max(stage.frame_counts())
    with distributed.device():
        network = stage.network()
    ema = EMA(network, optimization.ema_decay)
    unet_of(network).recompute_activations(optimization.activation_checkpointing)
    engine = Engine(network, optimization, stage.residual.pull if isinstance(stage, ResidualStage) else 0.0)
    micro = micro_batch(optimization, stage.num_frames, num_frames)
    batches = [batch(stage, micro, num_frames) for _ in range(min(2, batch_per_process(optimization)[0] // micro))]
    TrainStep(engine, training_of(stage, network, base))(1, batches, 1e-4, stop=False)
    ema.update(engine.module, 1)


def measured(stage, network, base):
    """Held-out errors of two videos, at two noise levels."""
    shape = (2, *video_shape(stage.config, stage.num_frames, stage.scale))
    kind = HeldOut if isinstance(stage, ResidualStage) else HeldOutWindows
    held_out = object.__new__(kind)
    videos, masks = torch.empty(shape), torch.ones(2, 1, *shape[2:], dtype=torch.bool)
    vars(held_out).update(config=stage.config, base=base and base.base, sigmas=(0.5, 2.0), scale=stage.scale)
    vars(held_out).update(videos=videos, masks=masks, predictions={})
    return held_out.evaluate(network)


def sampled(stage, network, base):
    """A sampler step: two predictions; the residual's are those of the whole model."""
    denoise = network if base is None else model_of(stage.config, base.views.values(), network).full
    noise = torch.randn(1, *video_shape(stage.config, stage.num_frames, stage.scale), device="cuda")
    return sample_heun(denoise, initial_state(denoise, noise, 80.0), torch.tensor([80.0, 1.0, 0.0]))


SLOW = {"marks": pytest.mark.slow}


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("one_gpu", "clip"),
        pytest.param("one_gpu", "low_res_4", **SLOW),
        pytest.param("one_gpu", "residual", **SLOW),
        *(pytest.param(n, s, **SLOW) for n in ("long_video", "cluster") for s in ("clip", "low_res_4", "residual")),
    ],
)
def test_a_step_its_errors_and_a_sample_fit_the_card_and_its_kernels(name, stage, card):
    gpu, processes = ON[name]
    (found,) = stages_of(load_settings(RunConfig, CONFIGS / f"{name}.yaml"), stage)
    most = FILLED * CARDS[gpu].gigabytes * 1e9
    with card("meta", processes) as in_training:
        a_step(found, model_of(found.config) if stage == "residual" else None)
    with card("cuda", processes) as beside, torch.no_grad():
        base = model_of(found.config) if stage == "residual" else None
        with torch.device("cuda"):
            network = in_bf16(found.network())
        longest = max(found.frame_counts())
        samples = batch(found, micro_batch(found.optimization, found.num_frames, longest), longest)
        assert training_of(found, network, base).loss(network, samples).device.type == "cuda"
        measured(found, network, base)
        video = sampled(found, network, base)
    assert (video.device.type, video.shape[1:]) == ("cuda", video_shape(found.config, found.num_frames, found.scale))
    for simulated in (in_training, beside):
        assert 10**6 < simulated.largest <= MOST_ELEMENTS
        assert 0 < simulated.attention_batch <= MAX_CUDA_BATCH
        assert 0.05e9 < simulated.peak <= most

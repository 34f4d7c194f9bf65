"""Features of videos for the Fréchet distance.

They come from a TorchScript network, from torchvision's r3d_18 with given weights, or from a small autoencoder trained
on the run's own data. Fréchet distances can be compared only under the same protocol, so a `FeatureNetwork` has a text
that describes it.
"""

import hashlib
import itertools
import json
import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.video import r3d_18
from tqdm import tqdm

from vidboot.config import RunConfig
from vidboot.data.datasets import ViewDataset, to_tensor
from vidboot.data.files import atomic_path
from vidboot.data.manifest import Shot
from vidboot.errors import UserError
from vidboot.model.run_folder import SPLIT_FILE
from vidboot.seeds import torch_seed

FEATURES_FILE = "features.safetensors"
DIMENSIONS, CHANNELS = 32, 16
STEPS, BATCH_SIZE, LEARNING_RATE = 600, 16, 2e-3
R3D_SIZE, R3D_MEAN, R3D_STD = (112, 112), (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
"""What torchvision's r3d_18 was trained with: height and width, and mean and standard deviation of values in [0, 1]."""


@dataclass(frozen=True)
class FeatureNetwork:
    """A network from windows of `num_frames` frames, B C T H W in [-1, 1], to features B D, and its description."""

    network: Callable[[Tensor], Tensor]
    num_frames: int
    protocol: str

    @torch.no_grad()
    def __call__(self, videos: Float[Tensor, "N C T H W"]) -> Float[np.ndarray, "n D"]:
        """Features of all windows, which follow one another without overlap; no rows if the videos are too short."""
        windows = [w for w in videos.split(self.num_frames, dim=2) if w.shape[2] == self.num_frames]
        if not windows:  # no rows, but of the right length
            _, channels, _, height, width = videos.shape
            return (
                self.network(videos.new_zeros(1, channels, self.num_frames, height, width))[:0].double().cpu().numpy()
            )
        return torch.cat([self.network(v[None]) for w in windows for v in w]).double().cpu().numpy()


class Autoencoder(nn.Module):
    """An autoencoder of windows, whose bottleneck of `DIMENSIONS` numbers gives their features."""

    def __init__(self, num_frames: int, height: int, width: int) -> None:
        super().__init__()
        size = (num_frames, height, width)
        widths = [3, CHANNELS, 2 * CHANNELS, 4 * CHANNELS]
        self.encoder = nn.ModuleList(nn.Conv3d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        # Sizes before each strided convolution; the decoder goes back through the same sizes.
        self.sizes = [tuple(-(-n // 2**level) for n in size) for level in range(len(widths))]
        flat = widths[-1] * int(np.prod(self.sizes[-1]))
        self.narrow, self.widen = nn.Linear(flat, DIMENSIONS), nn.Linear(DIMENSIONS, flat)
        self.decoder = nn.ModuleList(
            nn.Conv3d(b, a, 3, padding=1) for a, b in reversed(list(itertools.pairwise(widths)))
        )

    def features(self, x: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B D"]:
        """The numbers in the bottleneck."""
        for layer in self.encoder:
            x = nn.functional.silu(layer(x))
        return self.narrow(x.flatten(1))

    def forward(self, x: Float[Tensor, "B 3 T H W"]) -> Float[Tensor, "B 3 T H W"]:
        """The video, reconstructed from its features."""
        h = self.widen(self.features(x)).unflatten(1, (-1, *self.sizes[-1]))
        for layer, size in zip(self.decoder, reversed(self.sizes[:-1]), strict=True):
            h = layer(nn.functional.interpolate(nn.functional.silu(h), size=size))
        return h


def given_features(path: Path, example: Float[Tensor, "C T H W"]) -> FeatureNetwork:
    """The network in a file, for videos of the shape of `example`: TorchScript, or weights of torchvision's r3d_18.

    A TorchScript network is called on whole videos in [-1, 1] and does its own resizing; its output is flattened to one
    row for each video. For r3d_18 (Tran et al. 2018, arXiv 1711.11248) videos are resized and normalised as in its
    training; its features are the 512 inputs of its last layer. Raises `UserError` if the file can't be read or the
    network can't be called on such videos.
    """
    num_frames = example.shape[1]
    try:
        with warnings.catch_warnings():  # TorchScript is deprecated, but I3D is published as such a file
            warnings.simplefilter("ignore", FutureWarning)
            network = torch.jit.load(str(path), map_location="cpu").eval()
        protocol = f"TorchScript network {path.name} on {num_frames} frames at the stored size, in [-1, 1]"
    except (RuntimeError, ValueError, OSError) as error:
        network, protocol = _r3d_18(path, error)
        protocol = f"{protocol}, on {num_frames} frames"
    try:
        with torch.no_grad():
            found = network(example[None])
    except (torch.jit.Error, RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        shape = " × ".join(map(str, (1, *example.shape)))
        raise UserError(f"--features {path} can't be called on videos of {shape}: {reason[-1]}") from None
    if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != 1 or not found.isfinite().all():
        raise UserError(f"--features {path} doesn't give one row of finite numbers for each video")
    return FeatureNetwork(lambda x: network(x).flatten(1), num_frames, protocol)


def _r3d_18(path: Path, no_script: Exception) -> tuple[Callable[[Tensor], Tensor], str]:
    """torchvision's network with weights from a file, and its description."""
    network = r3d_18()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise UserError(f"--features {path} does not exist") from None
    except (RuntimeError, ValueError, OSError, EOFError, TypeError, AttributeError, pickle.UnpicklingError):
        reason = str(no_script).strip().splitlines()[0]
        raise UserError(
            f"--features {path} is neither a TorchScript file ({reason}) nor one of r3d_18's weights as torchvision "
            "stores them"
        ) from None
    network.fc = nn.Identity()
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (R3D_MEAN, R3D_STD))

    def features(x: Tensor) -> Tensor:
        """Videos B 3 T H W in [-1, 1] → B 512."""
        resized = [nn.functional.interpolate(v.movedim(1, 0), R3D_SIZE, mode="bilinear", antialias=True) for v in x]
        return network(((torch.stack(resized).movedim(1, 2) + 1) / 2 - mean) / std)

    network.eval()
    return features, f"torchvision's r3d_18 with the weights {path.name}, videos resized to {R3D_SIZE[1]}×{R3D_SIZE[0]}"


def own_features(run_dir: Path, config: RunConfig, shots: Sequence[Shot]) -> FeatureNetwork:
    """The run's own feature network: trained on the shots at its first use, and stored in the run folder.

    It is trained again if the run has changed: its windows, size, seed or training shots. Raises `UserError` if there
    is nothing to train it on.
    """
    path, length = run_dir / FEATURES_FILE, config.clip.num_frames
    torch.manual_seed(torch_seed(config.seed))
    network = Autoencoder(length, config.video.height, config.video.width)
    made_from = {"made_from": _identity(run_dir, config)}
    if _metadata(path) == made_from:
        network.load_state_dict(load_file(path))
    else:
        _train(network, config, shots)
        with atomic_path(path) as partial:
            save_file(network.state_dict(), partial, made_from)
    protocol = (
        f"{DIMENSIONS} features of windows of {length} frames side by side, from the bottleneck of an autoencoder "
        f"trained for {STEPS} steps on the run's training clips ({FEATURES_FILE} in the run folder); "
        f"{config.video.width}×{config.video.height} pixels in [-1, 1], neither resized nor compressed"
    )
    return FeatureNetwork(network.eval().features, length, protocol)


def _identity(run_dir: Path, config: RunConfig) -> str:
    """What the run's feature network depends on."""
    shots = "\n".join(json.loads((run_dir / SPLIT_FILE).read_text()).get("train", ()))
    size = (config.clip.num_frames, config.video.height, config.video.width)
    return json.dumps([*size, config.seed, hashlib.sha256(shots.encode()).hexdigest()])


def _metadata(path: Path) -> dict[str, str] | None:
    """The metadata of a file of weights; None if the file is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as stored:
            return stored.metadata()
    except (OSError, SafetensorError):
        return None


def _train(network: Autoencoder, config: RunConfig, shots: Sequence[Shot]) -> None:
    length = config.clip.num_frames
    clean = [s for s in shots if "clip" in s.views and s.num_frames >= length and s.mask_path is None]
    if not clean:
        raise UserError(
            "--data has no training clip without a mask for the feature network: give the manifest that the run was "
            "trained on, or --features FILE"
        )
    options = config.data.model_copy(update={"extra_masks": 0.0, "context": 0.0, "memory_gb": 1.0})
    data = ViewDataset(clean, {length: 1.0}, config.seed, BATCH_SIZE, options)
    batches = [list(range(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)) for step in range(STEPS)]
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for batch in tqdm(DataLoader(data, batch_sampler=batches), desc="feature network", unit="step"):
        x0 = to_tensor(batch["frames"])
        error = ((network(x0) - x0) ** 2).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()

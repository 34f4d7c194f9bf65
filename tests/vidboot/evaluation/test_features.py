"""Feature networks that the user gives."""

import pytest
import torch
from torchvision.models.video import r3d_18
from torchvision.transforms.v2 import functional as transforms

from vidboot.errors import UserError
from vidboot.evaluation.features import given_features

EXAMPLE = torch.rand(3, 8, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Sums(torch.nn.Module):
    def forward(self, x):
        return x.sum((1, 2))


class NotANumber(torch.nn.Module):
    def forward(self, x):
        return x.sum((1, 2)) * float("nan")


class Scalar(torch.nn.Module):
    def forward(self, x):
        return x.sum()


class OtherShape(torch.nn.Module):
    def forward(self, x):
        return x.reshape(1, 7, 11)


class TwoArguments(torch.nn.Module):
    def forward(self, x, y):
        return x + y


def scripted(module, folder):
    path = folder / f"{type(module).__name__}.ts"
    torch.jit.script(module).save(str(path))
    return path


def test_maps_of_a_torchscript_network_become_one_row_a_video(tmp_path):
    features = given_features(scripted(Sums(), tmp_path), EXAMPLE)
    videos = torch.stack([EXAMPLE, -EXAMPLE])
    expected = videos.double().sum((1, 2)).flatten(1)
    torch.testing.assert_close(torch.from_numpy(features(videos)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (NotANumber(), "finite numbers"),
        (Scalar(), "one row"),
        (OtherShape(), "can't be called on videos of 1 × 3 × 8 × 24 × 32"),
        (TwoArguments(), "can't be called"),
    ],
)
def test_a_network_that_gives_no_features_is_refused(module, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        given_features(scripted(module, tmp_path), EXAMPLE)
    assert "\n" not in str(error.value)


def test_weights_of_r3d_18_see_videos_as_it_was_trained(tmp_path):
    torch.manual_seed(0)
    network = r3d_18().eval()
    torch.save(network.state_dict(), tmp_path / "r3d_18.pth")
    features = given_features(tmp_path / "r3d_18.pth", EXAMPLE)
    found = torch.from_numpy(features(EXAMPLE[None]))
    frames = transforms.resize((EXAMPLE.movedim(1, 0) + 1) / 2, [112, 112], antialias=True)
    frames = transforms.normalize(frames, mean=[0.43216, 0.394666, 0.37645], std=[0.22803, 0.22145, 0.216989])
    kept = []
    network.avgpool.register_forward_hook(lambda module, inputs, output: kept.append(output.flatten(1)))
    with torch.no_grad():
        network(frames.movedim(0, 1)[None])
    torch.testing.assert_close(found, kept[0].double(), rtol=1e-4, atol=1e-5)
    assert "r3d_18.pth" in features.protocol and "112×112" in features.protocol and "8 frames" in features.protocol


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "garbage").write_bytes(b"garbage")
    torch.save({"fc.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name, message in (("garbage", "neither"), ("other.pth", "neither"), ("missing", "does not exist")):
        with pytest.raises(UserError, match=message) as error:
            given_features(tmp_path / name, EXAMPLE)
        assert "\n" not in str(error.value)

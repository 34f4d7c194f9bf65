"""Which layers of another network are taken: compared tensor by tensor with both networks."""

import pytest
import torch
from safetensors.torch import load_file

from vidboot.config import RunConfig
from vidboot.model.made_for import made_for
from vidboot.model.run_folder import save_weights
from vidboot.model.start import read_start, started_from
from vidboot.model.video_model import residual_network, view_network
from vidboot.settings import load_settings

SMALL = ["low_res=[]", "clip.network.multipliers=[1,2]"]


@pytest.fixture
def load(tmp_path):
    """A run's settings, of which no data are needed."""
    (tmp_path / "run.yaml").write_text(
        "{run_dir: run, data: {manifest: data}, video: {num_frames: 12, height: 8, width: 16, overlap: 4}, clip: "
        "{num_frames: 4, overlap: 2, network: {channels: 8}, train: {steps: 1, batch_size: 1}}, residual: null}"
    )
    return lambda *overrides: load_settings(RunConfig, tmp_path / "run.yaml", [*SMALL, *overrides])


def network_of(config, seed):
    """The clip network with weights that are nowhere zero, so that no two tensors are the same by chance."""
    network, generator = view_network(config, config.clip), torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return network


def start(there, here, folder, fps=(24.0, 24.0)):
    """Start a network of `here` from one of `there`: what was taken, and the weights before, there and after."""
    source, network = network_of(there, 1), network_of(here, 2)
    save_weights(folder / "clip", source, made_for(there, there.clip, fps[0]))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = read_start(str(folder), "clip", network, made_for(here, here.clip, fps[1]))
    found.apply(network)
    return found, before, source.state_dict(), network.state_dict()


@pytest.mark.parametrize(
    "change",
    [
        "clip.network.multipliers=[1,2,4]",
        "clip.network.multipliers=[1]",
        "clip.network.multipliers=[1,3]",
        "clip.network.blocks=2",
        "clip.network.attention_levels=2",
        "clip.network.head_channels=8",
        "data.classes=[a]",
        "data.frame_strides=[1,2]",
    ],
)
def test_each_layer_is_the_sources_or_as_it_was(load, tmp_path, change):
    found, before, there, after = start(load(), load(change), tmp_path)
    taken = {name for name in after if name in there and torch.equal(after[name], there[name])}
    assert all(torch.equal(after[name], before[name]) for name in after.keys() - taken)
    assert found.taken == sum(after[name].numel() for name in taken)
    assert found.parameters == sum(tensor.numel() for tensor in after.values())
    for name in after:  # a layer goes whole, and what fits is taken
        layer = [other for other in after if other.startswith(name.rpartition(".")[0] + ".")]
        assert (name in taken) == all(other in there and there[other].shape == after[other].shape for other in layer)
    told = [text.split()[0].rpartition(".")[0] for text in found.unfit] + list(found.absent)
    assert {name.rpartition(".")[0] for name in after.keys() - taken} <= {*told, *(t.rpartition(".")[0] for t in told)}


def test_labels_are_taken_for_the_same_classes_only(load, tmp_path):
    name = "network.embed_label.weight"
    for classes, same in (("[a,b]", True), ("[b,a]", False), ("[a,c]", False)):
        found, before, there, after = start(load("data.classes=[a,b]"), load(f"data.classes={classes}"), tmp_path)
        assert torch.equal(after[name], there[name] if same else before[name])
        assert found.taken == found.parameters - (0 if same else before[name].numel())
        assert found.differs == ([] if same else [f"data.classes [a, b] there, {classes.replace(',', ', ')} here"])


def test_what_it_was_made_for_is_compared(load, tmp_path):
    here = load(
        "noise.sigma_data=0.4", "noise.sigma_max=160.", "video={num_frames: 12, height: 16, width: 16, overlap: 4}"
    )
    found, *_ = start(load(), here, tmp_path, fps=(23.976, 12.0))
    assert found.differs == [
        "noise.sigma_data 0.5 there, 0.4 here",
        "noise.sigma_max 80 there, 160 here",
        "height 8 there, 16 here",
        "frames per second 24 there, 12 here",
    ]
    assert found.taken == found.parameters
    assert start(load(), load(), tmp_path, fps=(23.976, 24.0))[0].differs == []


def test_a_view_may_start_from_a_residual_which_is_a_clip_network_with_more(load, tmp_path):
    config = load()
    save_weights(tmp_path / "residual", residual_network(config))
    file = tmp_path / "residual" / "model.safetensors"
    found = read_start(str(file), "clip", network_of(config, 2), made_for(config, config.clip, 24.0))
    assert found.taken == found.parameters and found.differs is None
    extra = {name.split(".")[1] for name in load_file(file)} - {name.split(".")[1] for name in found.weights}
    assert (
        {name.split(".")[1] for name in found.without_place} == extra == {"conv_base", "long_range", "long_attention"}
    )


def test_the_record_says_where_a_network_started(load, tmp_path):
    assert started_from(tmp_path / "stage") is None
    found, *_ = start(load(), load(), tmp_path)
    found.save(tmp_path / "stage")
    count = f"{found.parameters:,}"
    assert started_from(tmp_path / "stage") == (
        f"started from {tmp_path}: {count} of {count} parameters, from {tmp_path / 'clip' / 'model.safetensors'}"
    )

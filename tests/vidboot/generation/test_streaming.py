import itertools

import pytest
import torch
from small_model import small_model

from vidboot.errors import UserError
from vidboot.generation.sampling import Sampling
from vidboot.generation.streaming import StreamState, stream
from vidboot.method.conditioning import Observation

SAMPLING = Sampling(steps=2)
MOMENTS = Sampling(steps=2, iterations=1)


@pytest.fixture(scope="module")
def model():
    return small_model()


def take(chunks, count):
    return [*itertools.islice(chunks, count)]


def joined(chunks):
    return torch.cat([frames for frames, _ in chunks], dim=2)


@pytest.mark.parametrize("sampling", [SAMPLING, MOMENTS])
def test_chunks_continue_each_other_and_each_seed_is_for_itself(model, sampling):
    chunks = take(stream(model, [1, 2], sampling), 3)
    assert [(frames.shape[2], state.frames) for frames, state in chunks] == [(10, 10), (7, 17), (7, 24)]
    whole = joined(chunks)
    for number, (_, state) in enumerate(chunks, 1):
        assert state.tail.shape[2] == 3 + 2  # a quarter of 12 frames, though windows share 4
        torch.testing.assert_close(state.tail[:, :, :3], whole[:, :, : 10 + 7 * (number - 1)][:, :, -3:])
    alone = joined(take(stream(model, [2], sampling), 3))
    torch.testing.assert_close(whole[1:], alone, atol=1e-5, rtol=0)
    assert not torch.allclose(whole[:, :, 10:17], whole[:, :, 17:24])


def test_the_open_frames_are_held_to_while_noise_hides_their_detail_and_made_anew(model):
    first, second = take(stream(model, [3], Sampling(steps=8)), 2)
    left, made = first[1].tail[:, :, 3:], second[0][:, :, :2]
    assert not torch.allclose(left, made, atol=1e-3)
    pairs = [torch.stack([left[:, :, t].flatten(), made[:, :, t].flatten()]) for t in (0, 1)]
    alike = [float(torch.corrcoef(pair)[0, 1]) for pair in pairs]
    assert alike[0] > 0.6 > alike[1]


def test_a_stopped_stream_goes_on_exactly(model, tmp_path):
    uninterrupted = take(stream(model, [5], SAMPLING), 3)
    begun = take(stream(model, [5], SAMPLING), 2)
    begun[-1][1].save(tmp_path / "state", {"seed": 5})
    state = StreamState.load(tmp_path / "state", {"seed": 5})
    rest = take(stream(model, [5], SAMPLING, state), 1)
    assert torch.equal(joined(uninterrupted), joined(begun + rest))


@pytest.mark.parametrize("sampling", [SAMPLING, MOMENTS])
def test_what_is_known_of_later_chunks_comes_back(model, sampling):
    truth = torch.rand(1, 3, 24, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 24, 8, 8, dtype=torch.bool)
    mask[..., :3] = True
    known = Observation.of_pixels(truth, mask)
    whole = joined(take(stream(model, [0], sampling, observation_of=known.frames), 3))
    torch.testing.assert_close(whole[..., :3], truth[..., :3], atol=1e-4, rtol=0)


def test_another_streams_state_and_a_damaged_one_are_refused(model, tmp_path):
    path = tmp_path / "state"
    assert StreamState.load(path, {}) is None
    StreamState(1, 12, torch.zeros(1, 3, 4, 8, 8)).save(path, {"seed": 5, "steps": 2})
    with pytest.raises(UserError, match="another seed, steps"):
        StreamState.load(path, {"seed": 6, "steps": 3})
    with pytest.raises(UserError, match="from another version of vidboot"):
        next(stream(model, [5], SAMPLING, StreamState.load(path, {"seed": 5, "steps": 2})))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="delete"):
        StreamState.load(path, {"seed": 5, "steps": 2})


def test_a_stream_of_a_class_with_guidance_keeps_its_frames(model):
    model = small_model(classes=["cat", "dog"])
    sampling = Sampling(steps=2, iterations=1, label=1, guidance=2.0)
    first, second = take(stream(model, [0], sampling), 2)
    none = joined(take(stream(model, [0], MOMENTS), 2))
    assert not torch.allclose(joined([first, second]), none, atol=1e-3)
    torch.testing.assert_close(first[1].tail[:, :, :3], first[0][:, :, -3:])

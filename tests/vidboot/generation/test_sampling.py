import copy

import pytest
import torch
from small_model import small_model

from vidboot.generation.classes import labels_of
from vidboot.generation.sampling import Sampling, generate, generate_videos, sample, seeded
from vidboot.generation.streaming import stream
from vidboot.method.calibration import Calibration, Estimate
from vidboot.method.conditioning import Observation
from vidboot.method.network_inputs import NO_INPUTS
from vidboot.model.video_model import VideoModel


@pytest.fixture(scope="module")
def model():
    return small_model()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_frames", [1, 5, 12, 13, 29])
def test_any_number_of_frames(model, num_frames):
    video = generate(model, num_frames, seed=3, steps=2)
    assert video.shape == (3, num_frames, 8, 8)
    assert -1 <= float(video.min()) < float(video.max()) <= 1


def test_the_same_seed_is_the_same_sample_alone_in_a_batch_and_with_another_memory_limit():
    model = small_model()
    alone = generate_videos(model, 29, [7], steps=5)
    together = generate_videos(model, 29, [3, 7, 11], steps=5)
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)
    assert float((together[0] - together[1]).abs().mean()) > 0.1
    model.max_batch_frames = 12
    torch.testing.assert_close(generate_videos(model, 29, [7], steps=5), alone, atol=1e-5, rtol=0)


def test_what_is_known_comes_back(model):
    truth = noise(1, 3, 14, 8, 8, seed=5).clamp(-1, 1) / 2
    mask = noise(1, 1, 14, 8, 8, seed=6) > 0
    low = torch.nn.functional.avg_pool3d(truth, (1, 2, 2))
    for iterations in (None, 0, 1):
        for known in (Observation.of_first_frames(truth[:, :, :3], 14), Observation.of_pixels(truth, mask)):
            video = generate_videos(model, 14, [0], steps=2, observation=known, iterations=iterations)
            assert float((known.project(video) - known.lifted).abs().max()) < 1e-4
        video = generate_videos(
            model, 14, [0], steps=2, observation=Observation.of_low_resolution(low, 2), iterations=iterations
        )
        torch.testing.assert_close(torch.nn.functional.avg_pool3d(video, (1, 2, 2)), low, atol=1e-4, rtol=0)


class ConditionedGaussian(torch.nn.Module):
    """E[x0 | x, context] of Gaussian pixels with covariance `cov` (all of a frame's pixels alike), exactly."""

    def __init__(self, cov):
        super().__init__()
        self.cov, self.parameter = cov, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, sigma, inputs=NO_INPUTS):
        noise = sigma.reshape(-1, 1, 1).double() ** 2 * torch.eye(len(self.cov)).double()
        context = inputs.context_mask
        if context is not None:
            noise = noise * ~context[:, 0, :, 0, 0, None]
        gain = self.cov @ torch.linalg.inv(self.cov + noise)
        return torch.einsum("bst,bcthw->bcshw", gain, x.double()).to(x.dtype)


@pytest.mark.parametrize("iterations", [None, 12])
def test_samples_given_the_first_frames_have_the_mean_and_variance_of_the_conditional_law(iterations):
    """The law is a linear chain of frames; conditioned networks and exact moment matching both sample from it."""
    model = small_model()
    frames = torch.arange(12, dtype=torch.float64)
    cov = 0.04 * 0.85 ** (frames[:, None] - frames).abs()
    exact = ConditionedGaussian(cov)
    whole = Calibration(model.config.plan, (1.0,), (({Estimate("whole", 1): 1.0},) * 2,))
    settings = model.config.model_copy(update={"residual": None})
    model = VideoModel(settings, {"clip": exact, "low_res_2": exact}, calibration=whole)
    given = 0.3 * noise(1, 3, 4, 8, 8, seed=5)
    known = Observation.of_first_frames(given, 12)
    gain = cov[4:, :4] @ torch.linalg.inv(cov[:4, :4])
    mean = torch.einsum("st,bcthw->bcshw", gain, given.double()).float()
    spread = (cov[4:, 4:] - gain @ cov[:4, 4:]).diagonal().sqrt().float()
    videos = generate_videos(model, 12, range(24), steps=24, observation=known, iterations=iterations)
    off = (videos[:, :, 4:] - mean) / spread[:, None, None]  # 24 × 192 standard normal values a frame, if exact
    assert float(off.mean((0, 1, 3, 4)).abs().max()) < 4 * (24 * 192) ** -0.5 + 0.01
    assert float((off.std((0, 1, 3, 4)) - 1).abs().max()) < 0.06


def test_each_item_of_a_conditioned_batch_is_for_itself(model):
    known = Observation.of_first_frames(noise(1, 3, 4, 8, 8).clamp(-1, 1), 12)
    alone = generate_videos(model, 12, [7], steps=2, observation=known)
    torch.testing.assert_close(
        generate_videos(model, 12, [3, 7], steps=2, observation=known)[1:], alone, atol=1e-5, rtol=0
    )


def test_the_mean_of_draws_is_that_of_samples_from_the_same_generator(model):
    known = Observation.of_first_frames(noise(1, 3, 4, 8, 8).clamp(-1, 1), 12)
    steps = []
    (generator,), (again,) = seeded([7]), seeded([7])
    mean = sample(model, 12, [generator], Sampling(steps=2, draws=3), known, steps.append)
    alone = [sample(model, 12, [again], Sampling(steps=2), known) for _ in range(3)]
    torch.testing.assert_close(mean, torch.stack(alone).mean(0), atol=1e-6, rtol=0)
    assert not torch.equal(alone[0], alone[1]) and steps == list(range(1, 7))


def test_guidance_goes_from_no_class_past_the_class():
    model = small_model(classes=["cat", "dog"])
    x, sigma = noise(1, 3, 12, 8, 8), torch.ones(1)
    none, dog = model.denoise(x, sigma), model.with_conditions(label=1).denoise(x, sigma)
    assert not torch.allclose(none, dog)
    for guidance, expected in ((0.0, none), (1.0, dog), (3.0, none + 3 * (dog - none))):
        guided = Sampling(label=1, guidance=guidance).denoiser(model)
        torch.testing.assert_close(guided(x, sigma), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_class_and_all_that_may_be_known_go_together(guidance):
    """Observed frames, pixels and low-resolution versions come back whatever the class."""
    model = small_model(classes=["cat", "dog"])
    truth = noise(1, 3, 14, 8, 8, seed=5).clamp(-1, 1) / 2
    mask = noise(1, 1, 14, 8, 8, seed=6) > 0.5
    low = torch.nn.functional.avg_pool3d(truth, (1, 2, 2))
    known = (
        Observation.of_first_frames(truth[:, :, :3], 14)
        & Observation.of_pixels(truth, mask)
        & Observation.of_low_resolution(low, 2)
    )
    videos = []
    for label in (0, 1):
        video = generate_videos(
            model, 14, [0], steps=2, observation=known, iterations=1, label=label, guidance=guidance
        )
        torch.testing.assert_close(video[:, :, :3], truth[:, :, :3], atol=1e-4, rtol=0)
        torch.testing.assert_close(video * mask, truth * mask, atol=1e-4, rtol=0)
        torch.testing.assert_close(torch.nn.functional.avg_pool3d(video, (1, 2, 2)), low, atol=1e-4, rtol=0)
        videos.append(video)
    assert float((videos[0] - videos[1]).abs().max()) > 1e-3


def test_each_seed_draws_its_class_unless_one_is_asked_for_or_something_is_known():
    model = small_model(classes=["cat", "dog"])
    seeds = list(range(6))
    of_class = [generate_videos(model, 14, seeds, steps=2, label=label) for label in (0, 1)]
    drawn = generate_videos(model, 14, seeds, steps=2)
    same = [[torch.allclose(drawn[n], one[n], atol=1e-3) for one in of_class] for n in seeds]
    assert all(sum(each) == 1 for each in same) and {each[0] for each in same} == {True, False}
    alone = generate_videos(model, 14, [4], steps=2)
    torch.testing.assert_close(alone[0], drawn[4], atol=1e-5, rtol=0)
    first = next(stream(model, [4], Sampling(steps=2)))[0]
    other = next(stream(model, [4], Sampling(steps=2, label=int(not same[4][1]))))[0]
    assert not torch.allclose(first, other, atol=1e-3)
    labels = [labels_of(model, [seed], None, known=False)[0] for seed in range(1000)]
    assert 420 < labels.count(0) < 580  # five standard deviations

    known = Observation.of_first_frames(drawn[:1, :, :3], 14)
    of_none = sample(model, 14, seeded([4]), Sampling(steps=2), known)
    torch.testing.assert_close(generate_videos(model, 14, [4], steps=2, observation=known), of_none)


def test_a_model_of_one_class_is_a_model_like_any_other():
    """It has a device, can be moved, and samples as with guidance scale 1."""
    model = small_model(classes=["cat", "dog"])
    given = model.with_conditions(label=1)
    assert given.device == model.device
    video = generate(given.to("cpu"), 14, seed=3, steps=2)
    torch.testing.assert_close(video, generate(model, 14, seed=3, steps=2, label=1, guidance=1.0))


def test_a_video_shows_itself_and_computes_like_a_tensor(model):
    video = generate(model, 3, steps=1)
    assert 'src="data:video/mp4;base64,' in video._repr_html_()
    assert copy.deepcopy(video).fps == video.fps
    assert type(video + 1) is torch.Tensor


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"num_frames": 0}, "at least 1 frame"),
        ({"num_frames": 3, "steps": 0}, "greater than 0"),
        ({"num_frames": 3, "sampler": "hoin"}, "'heun', 'dpm2m' or 'euler'"),
    ],
)
def test_mistakes_are_refused(model, arguments, says):
    with pytest.raises(ValueError, match=says):
        generate(model, **arguments)

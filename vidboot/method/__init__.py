"""The method (Ma 2025, arXiv 2505.11825), as mathematics: no run folder, no network of ours.

It takes denoisers of your own, anything callable as `denoise(x, sigma) -> x0_hat`:

- composed by counting numbers: `region_graph`, `ComposedDenoiser`; calibrated: `fit_calibration`, `CalibratedDenoiser`
- with a gated residual on top: `ResidualDenoiser`, `GateFit`
- at any length: `LongDenoiser`; given part of the video: `Observation`, `MomentMatched`
- sampled: `karras_sigmas`, `initial_state`, `sample_heun`
- from networks that predict something else than x0: `from_eps`, `from_v`, `from_flow`

`docs/method.md` says in which order to read the code; `docs/examples/` holds programs to run.
"""

from vidboot.method.adapters import (
    flow_scale,
    flow_time,
    from_eps,
    from_flow,
    from_v,
    from_x0,
    timesteps,
    vp_scale,
)
from vidboot.method.calibration import CalibratedDenoiser, Calibration, Estimate
from vidboot.method.calibration_fit import fit_calibration
from vidboot.method.composition import (
    AccumulatingDenoiser,
    AveragedWindows,
    ComposedDenoiser,
    Denoiser,
    LowResDenoiser,
    Network,
    ResidualDenoiser,
    by_scale,
    disjoint_windows,
)
from vidboot.method.conditioning import AnnealedConditioning, Corrected, MomentMatched, Observation
from vidboot.method.denoising_error import denoising_errors, edm_weighted
from vidboot.method.edm import (
    Preconditioned,
    add_noise,
    denoising_loss,
    karras_sigmas,
    loss_weight,
    sample_sigma,
)
from vidboot.method.gate import OPEN, Gate, GateFit
from vidboot.method.hole_filling import fill_hidden
from vidboot.method.long_video import LongDenoiser
from vidboot.method.network_inputs import NetworkInputs
from vidboot.method.regions import Region, ViewPlan, low_resolution, region_graph, windows
from vidboot.method.samplers import (
    SAMPLERS,
    Sampler,
    initial_state,
    sample_dpm2m,
    sample_euler,
    sample_heun,
    with_resampling,
)
from vidboot.method.views import View

__all__ = [
    "OPEN",
    "SAMPLERS",
    "AccumulatingDenoiser",
    "AnnealedConditioning",
    "AveragedWindows",
    "CalibratedDenoiser",
    "Calibration",
    "ComposedDenoiser",
    "Corrected",
    "Denoiser",
    "Estimate",
    "Gate",
    "GateFit",
    "LongDenoiser",
    "LowResDenoiser",
    "MomentMatched",
    "Network",
    "NetworkInputs",
    "Observation",
    "Preconditioned",
    "Region",
    "ResidualDenoiser",
    "Sampler",
    "View",
    "ViewPlan",
    "add_noise",
    "by_scale",
    "denoising_errors",
    "denoising_loss",
    "disjoint_windows",
    "edm_weighted",
    "fill_hidden",
    "fit_calibration",
    "flow_scale",
    "flow_time",
    "from_eps",
    "from_flow",
    "from_v",
    "from_x0",
    "initial_state",
    "karras_sigmas",
    "loss_weight",
    "low_resolution",
    "region_graph",
    "sample_dpm2m",
    "sample_euler",
    "sample_heun",
    "sample_sigma",
    "timesteps",
    "vp_scale",
    "windows",
    "with_resampling",
]

"""The plan of a run: what would be trained, on how much, and what is there already. Starts nothing."""

import torch
from rich.console import Console
from rich.table import Table

from vidboot.config import RunConfig, optimization_of
from vidboot.data.display import print_table
from vidboot.data.manifest import Shot
from vidboot.data.split import Split
from vidboot.distributed import world_size
from vidboot.errors import UserError
from vidboot.training.checkpoints import checkpoint_steps
from vidboot.training.estimate import Cost, network_of, step_cost
from vidboot.training.log import memory_gb
from vidboot.training.residual_stage import full_shots, residual_frame_counts
from vidboot.training.run import check_run, is_finished, run_split, stage_names
from vidboot.training.view_stage import mean_frame_counts, shots_for


def print_plan(config: RunConfig) -> None:
    """Print the stages in order. Raises `UserError` for what training would refuse, but not for missing data."""
    console = Console()
    try:
        split = run_split(config)
    except UserError as error:
        console.print(f"data: {error}", markup=False)
        split = None
    if split is not None:
        check_run(config, split)
    table = Table(title=f"Plan of {config.run_dir}")
    for column in ("stage", "parameters", "frames", "trains on", "steps × batch", "state"):
        table.add_column(column, overflow="fold")
    for name in stage_names(config):
        table.add_row(name, *_row(config, name, split), _state(config, name))
    print_table(table)
    print_table(_costs(config))
    if not torch.cuda.is_available():
        console.print(f"on this machine add {memory_gb():.1f} GB for the program itself")
    if split is not None:
        console.print(f"held out: {len(split.validation)} shots to choose by, {len(split.test)} to report on")


def _costs(config: RunConfig) -> Table:
    """Operations, memory and disk of each stage that trains, for the number of processes of this launch."""
    stage = int(config.deepspeed.zero_optimization.get("stage", 0))
    table = Table(
        title=f"Cost with {world_size()} process(es), {config.deepspeed.precision}; this config: ZeRO-{stage}"
    )
    for column in ("stage", "TFLOP a step, at most", "activations", "GB a process at ZeRO 0 / 1 / 2 / 3", "GB on disk"):
        table.add_column(column, justify="right" if column != "stage" else "left")
    for name in stage_names(config):
        if name != "calibration":
            counts = mean_frame_counts(config, name) if name in config.views else [config.video.num_frames]
            cost = step_cost(config, name, max(counts))
            memory = " / ".join(f"{cost.memory(zero, world_size()) / 1e9:.2f}" for zero in range(4))
            disk = cost.checkpoint_bytes() * (config.log.keep_checkpoints + 1) / 1e9
            table.add_row(name, _flops(cost, config), f"{cost.activations / 1e9:.2f} GB", memory, f"{disk:.2f}")
    return table


def _flops(cost: Cost, config: RunConfig) -> str:
    if not cost.base_flops:
        return f"{cost.flops / 1e12:.3g}"
    often = "once" if config.residual.draws else "always"
    return f"{cost.flops / 1e12:.3g} + {cost.base_flops / 1e12:.3g} for the base, {often}"


def _row(config: RunConfig, name: str, split: Split | None) -> tuple[str, str, str, str]:
    if name == "calibration":
        return "", str(config.video.num_frames), f"at most {config.calibration.num_videos} held-out full videos", ""
    network, optimization = network_of(config, name), optimization_of(config, name)
    if name == "residual":
        counts, shots = list(residual_frame_counts(config)), split and full_shots(config, split.train)
    else:
        counts, shots = list(mean_frame_counts(config, name)), split and shots_for(config, name, split.train)
    parameters = sum(p.numel() for p in network.parameters())
    frames = ", ".join(str(count) for count in sorted(set(counts), reverse=True))
    return f"{parameters / 1e6:.2f} M", frames, _amount(shots), f"{optimization.steps} × {optimization.batch_size}"


def _amount(shots: list[Shot] | None) -> str:
    if shots is None:
        return "unknown"
    return f"{len(shots)} shots, {sum(shot.num_frames for shot in shots)} frames"


def _state(config: RunConfig, name: str) -> str:
    if is_finished(config, name):
        return "finished"
    steps = checkpoint_steps(config.run_dir / name / "checkpoints")
    return f"goes on from step {steps[-1]}" if steps else "to do"

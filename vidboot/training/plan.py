"""The plan of a run: what would be trained, on how much, and what is there already. Starts nothing."""

import torch
from rich.console import Console
from rich.table import Table

from vidboot.config import RunConfig
from vidboot.data.display import print_table
from vidboot.data.split import Split
from vidboot.distributed import world_size
from vidboot.errors import UserError
from vidboot.training.estimate import Cost, count_parameters
from vidboot.training.log import memory_gb
from vidboot.training.run import check_run, run_split
from vidboot.training.stage import NetworkStage, Stage
from vidboot.training.stages import stages_of


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
    for stage in stages_of(config):
        table.add_row(*_row(stage, split))
    print_table(table)
    print_table(_costs(config))
    if not torch.cuda.is_available():
        console.print(f"on this machine add {memory_gb():.1f} GB for the program itself")
    if split is not None:
        console.print(f"held out: {len(split.validation)} shots to choose by, {len(split.test)} to report on")


def _row(stage: Stage, split: Split | None) -> list[str]:
    frames = ", ".join(str(count) for count in sorted(stage.frame_counts(), reverse=True))
    if not isinstance(stage, NetworkStage):
        return [stage.name, "", frames, "held-out full videos", "", stage.state()]
    optimization, shots = stage.optimization, None if split is None else stage.trains_on(split)
    amount = "unknown" if shots is None else f"{len(shots)} shots, {sum(shot.num_frames for shot in shots)} frames"
    parameters = f"{count_parameters(stage.network()) / 1e6:.2f} M"
    return [stage.name, parameters, frames, amount, f"{optimization.steps} × {optimization.batch_size}", stage.state()]


def _costs(config: RunConfig) -> Table:
    """Operations, memory and disk of each stage that trains, for the number of processes of this launch."""
    zero_stage = int(config.deepspeed.zero_optimization.get("stage", 0))
    table = Table(
        title=f"Cost with {world_size()} process(es), {config.deepspeed.precision}; this config: ZeRO-{zero_stage}"
    )
    for column in ("stage", "TFLOP a step, at most", "activations", "GB a process at ZeRO 0 / 1 / 2 / 3", "GB on disk"):
        table.add_column(column, justify="right" if column != "stage" else "left")
    for stage in stages_of(config):
        if isinstance(stage, NetworkStage):
            cost = stage.longest_cost()
            memory = " / ".join(f"{cost.memory(zero, world_size()) / 1e9:.2f}" for zero in range(4))
            disk = cost.checkpoint_bytes() * (config.log.keep_checkpoints + 1) / 1e9
            activations = f"{cost.activations / 1e9:.2f} GB"
            table.add_row(stage.name, _flops(cost, config), activations, memory, f"{disk:.2f}")
    return table


def _flops(cost: Cost, config: RunConfig) -> str:
    if not cost.base_flops:
        return f"{cost.flops / 1e12:.3g}"
    often = "once" if config.residual.draws else "always"
    return f"{cost.flops / 1e12:.3g} + {cost.base_flops / 1e12:.3g} for the base, {often}"

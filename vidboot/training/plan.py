"""The plan of a run: its stages, what each would train on and cost, and what is finished. Starts nothing."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from vidboot.config import RunConfig
from vidboot.data.display import print_table
from vidboot.distributed import world_size
from vidboot.errors import UserError
from vidboot.training.engine import zero_stage
from vidboot.training.estimate import Cost
from vidboot.training.log import memory_gb
from vidboot.training.machine import FILLED, Card, Machine
from vidboot.training.run import check_run, run_split
from vidboot.training.stage import NetworkStage, Outline, Stage
from vidboot.training.stages import stages_of

_SIMULATED = (
    "Memory is simulated, without torch.compile, which needs less. TFLOP a step are the mean over frame counts, with "
    "the base's predictions. Hours are those of the steps: evaluation, samples and calibration come on top."
)


def print_plan(config: RunConfig, only: str | None = None, machine: Machine | None = None) -> bool:
    """Print the stages in order, or the one called `only`, and what they cost: on `machine`, or on a CPU.

    Returns whether training could start.

    Missing data is only said; raises `UserError` for all else that training refuses.
    """
    console, stages = Console(), stages_of(config, only)
    try:
        split = run_split(config)
    except UserError as error:
        console.print(f"data: {error}", markup=False)
        split = None
    if split is not None:
        check_run(config, split, only)
    outlines = {stage: stage.outline(split) for stage in stages}
    print_table(_stages(config, outlines))
    for stage, outline in outlines.items():
        for remark in outline.remarks:
            console.print(f"{stage.name}: {remark}", markup=False, highlight=False, soft_wrap=True)
    if machine is not None:
        print_table(_on_gpus(config, stages, machine))
        console.print(_SIMULATED)
    else:
        print_table(_costs(config, stages))
        console.print(f"on this machine add {memory_gb():.1f} GB for the program itself; --gpu NAME tells of a GPU")
    if split is not None:
        console.print(f"held out: {len(split.validation)} shots to choose by, {len(split.test)} to report on")
    return split is not None


def _stages(config: RunConfig, outlines: Mapping[Stage, Outline]) -> Table:
    """What each stage trains, on what, and how far it is."""
    table = Table(title=f"Plan of {config.run_dir}")
    for column in ("stage", "parameters", "frames", "trains on", "steps × batch", "state"):
        table.add_column(column, overflow="fold")
    for stage, outline in outlines.items():
        frames = ", ".join(str(count) for count in sorted(stage.frame_counts(), reverse=True))
        table.add_row(stage.name, outline.parameters, frames, outline.data, outline.steps, stage.state())
    return table


def _costs(config: RunConfig, stages: list[Stage]) -> Table:
    """Operations, memory and disk of each stage that trains, for the number of processes of this launch."""
    title = f"Cost with {world_size()} process(es), {config.deepspeed.precision}"
    table = Table(title=f"{title}; this config: ZeRO-{zero_stage(config.deepspeed)}")
    for column in ("stage", "TFLOP a step, at most", "activations", "GB a process at ZeRO 0 / 1 / 2 / 3", "GB on disk"):
        table.add_column(column, justify="right" if column != "stage" else "left")
    for stage in (stage for stage in stages if isinstance(stage, NetworkStage)):
        cost, kept = stage.cost(), stage.trainings * (config.log.keep_checkpoints + 1)
        memory = " / ".join(f"{cost.memory(zero, world_size()) / 1e9:.2f}" for zero in range(4))
        disk = cost.checkpoint_bytes(zero_stage(config.deepspeed)) * kept / 1e9
        table.add_row(stage.name, _flops(cost), f"{cost.activations / 1e9:.2f} GB", memory, f"{disk:.2f}")
    return table


def _on_gpus(config: RunConfig, stages: list[Stage], machine: Machine) -> Table:
    """Peak memory, time and price of each stage on GPUs."""
    card, speed = machine.card, f"{machine.share:.0%} of {machine.card.tflops:g} TFLOP/s"
    title = f"On {world_size()} × {card.name} of {card.gigabytes:g} GB, {config.deepspeed.precision}"
    table = Table(title=f"{title}, ZeRO-{zero_stage(config.deepspeed)}, at {speed}")
    columns = ("stage", "GB in training", "GB in evaluation and sampling", "TFLOP a step", "s a step", "hours", "price")
    for column in columns[: None if machine.price is not None else -1]:
        table.add_column(column, justify="right" if column != "stage" else "left")
    for stage in stages:
        peak = stage.gpu_peak()
        cells = ["" if not of else _gigabytes(of, card) for of in (peak.training, peak.denoising)]
        if isinstance(stage, NetworkStage):
            hours, steps = machine.hours(stage.total_flops()), stage.optimization.steps
            cells += [f"{stage.total_flops() / steps / 1e12:.3g}", f"{3600 * hours / steps:.2g}", f"{hours:.3g}"]
            cells += [] if machine.price is None else [f"{hours * world_size() * machine.price:.0f}"]
        table.add_row(stage.name, *cells)
    return table


def _gigabytes(size: int, card: Card) -> str:
    """Bytes in GB, marked where they leave less than a tenth of the card's memory."""
    return f"{size / 1e9:.1f}" + (" (too much)" if size > FILLED * card.gigabytes * 1e9 else "")


def _flops(cost: Cost) -> str:
    """TFLOP of a step, and of the base's predictions beside it."""
    own = f"{cost.flops / 1e12:.3g}"
    if not cost.base_flops:
        return own
    return f"{own} + {cost.base_flops / 1e12:.3g} for the base, {'once' if cost.base_once else 'always'}"

"""The stages of a run, in order."""

from vidboot.config import RunConfig
from vidboot.errors import UserError
from vidboot.training.calibration_stage import CalibrationStage
from vidboot.training.residual_stage import ResidualStage
from vidboot.training.stage import Stage
from vidboot.training.view_stage import view_stages


def stages_of(config: RunConfig, only: str | None = None) -> list[Stage]:
    """All stages of a run, or the one called `only`. Raises `UserError` if there is none of that name."""
    stages: list[Stage] = [*view_stages(config)]
    if config.calibration is not None:
        stages.append(CalibrationStage(config, config.calibration))
    if config.residual is not None:
        stages.append(ResidualStage(config, config.residual))
    chosen = [stage for stage in stages if only in (None, stage.name)]
    if not chosen:
        names = ", ".join(stage.name for stage in stages)
        raise UserError(f"there is no stage '{only}' in this config; stages: {names}")
    return chosen

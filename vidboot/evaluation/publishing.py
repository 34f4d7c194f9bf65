"""Publishing a trained run on the Hugging Face hub: its model, and a card filled from the run."""

import json
import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from vidboot.config import RunConfig
from vidboot.data.urls import url_of
from vidboot.errors import UserError
from vidboot.evaluation.model_card import write_card
from vidboot.model.hub import save_pretrained
from vidboot.model.run_folder import load, load_config


def write_repository(run: str | Path, folder: str | Path, name: str, licence: str | None = None) -> None:
    """Write into a folder all that `push_to_hub` publishes, to be looked at before. Raises `UserError` as `load`."""
    model, folder = load(run).frozen(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_card(folder, Path(run), model, name, licence)
    model.config = _without_places(model.config)
    save_pretrained(model, folder)


def push_to_hub(
    run: str | Path, repo_id: str, licence: str | None = None, private: bool = False, token: str | None = None
) -> str:
    """Publish a run as the hub repository `repo_id`, made if it isn't there; returns the address of the commit.

    The card shows two samples, which are made now. `licence` is one of the hub's names, like `cc-by-4.0`. No data are
    published, and of absolute paths and URLs only the last name. Raises `UserError` if the hub refuses, and as `load`.
    """
    load_config(Path(run))
    api = HfApi(token=token)
    try:
        # First, because a name or a token that is refused would be known only after the samples.
        api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            write_repository(run, folder, repo_id, licence)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="vidboot model"))
    except (HfHubHTTPError, HFValidationError) as error:
        raise UserError(f"the hub refuses {repo_id}: {error}") from None


def _without_places(config: RunConfig) -> RunConfig:
    """The configuration with the last name only of each absolute path and URL: what is above is nobody's business."""
    stored = config.model_dump(mode="json")
    places = [(stored, "run_dir"), (stored["data"], "manifest")]
    places += [(view, "start_from") for view in (stored["clip"], *stored["low_res"]) if view["start_from"]]
    for group, key in places:
        path = Path(group[key])
        group[key] = path.name if path.is_absolute() or url_of(path) is not None else group[key]
    return RunConfig.model_validate_json(json.dumps(stored))

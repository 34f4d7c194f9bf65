"""Publishing and fetching trained models: a folder, or a repository on the Hugging Face hub.

A published model is a run folder with configuration, weights, gate and calibration, without the state of training.
`vidboot.load` reads it as well, without DeepSpeed.
"""

import tempfile
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from vidboot.data.remote import folder_at_hand
from vidboot.data.urls import url_of
from vidboot.errors import UserError
from vidboot.model.run_folder import NAMES, load, save
from vidboot.model.video_model import VideoModel


def save_pretrained(model: VideoModel, folder: str | Path) -> None:
    """Write a model into a folder, and read it back to check it."""
    save(model, Path(folder))
    load(folder)


def push_to_hub(model: VideoModel, repo_id: str, private: bool = False, token: str | None = None) -> str:
    """Publish a model as the hub repository `repo_id`, made if it isn't there; returns the address of the commit.

    Raises `UserError` if the hub refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder)
        try:
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="vidboot model"))
        except (HfHubHTTPError, HFValidationError) as error:
            raise UserError(f"the hub refuses {repo_id}: {error}") from None


def from_pretrained(source: str | Path, revision: str | None = None, device: str = "cpu") -> VideoModel:
    """A model from a folder or, if there is no such folder, from the hub repository of that name.

    Raises `UserError` if it is neither, or damaged.
    """
    return load(source if Path(source).is_dir() else fetched(source, revision), device)


def fetched(source: str | Path, revision: str | None = None) -> Path:
    """The folder on this machine of the JSON and safetensors files of a hub repository, or of a run folder at a URL.

    Without a network it is what was fetched before. Raises `UserError` if there is nothing.
    """
    if url_of(source) is not None:
        return folder_at_hand(Path(source), NAMES)
    try:
        return Path(snapshot_download(str(source), revision=revision, allow_patterns=["*.json", "*.safetensors"]))
    except LocalEntryNotFoundError:
        raise UserError(
            f"{source} is neither here nor fetched before, and the hub can't be reached (or HF_HUB_OFFLINE is set): "
            "check the path, or the network"
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{source} is neither a folder nor a repository that can be fetched: {said}") from None

"""Trained models without the state of training: in a folder, or in a repository on the Hugging Face hub.

What is in it: configuration, weights, gate and calibration. `vidboot.load` reads it as well, without DeepSpeed.
`vidboot.evaluation.publishing` puts it on the hub.
"""

from pathlib import Path

from huggingface_hub import snapshot_download
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

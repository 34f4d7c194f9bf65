"""A video whose output is a URL: made in the cache of this machine, then sent."""

import json
import shlex
import shutil
from typing import Any

from vidboot.data.files import write_atomic
from vidboot.data.remote import RemoteFolder, folder_of
from vidboot.data.urls import url_of
from vidboot.errors import UserError
from vidboot.generation.render import render
from vidboot.generation.request import GenerateRequest
from vidboot.options import words_of


def render_and_send(request: GenerateRequest) -> dict[str, Any]:
    """`render`; an output at a URL is sent there with its record when it is finished.

    Raises `UserError` as `render` does, and before sampling if nothing can be written there.
    """
    if (url := url_of(request.output)) is None:
        return render(request)
    parent, _, name = url.rpartition("/")
    remote, local = RemoteFolder(parent), folder_of(parent, "videos") / name
    remote.check()
    if not local.suffix and any(there.startswith(f"{name}/") for there in remote.sizes()):
        raise UserError(f"--output {url} exists and is not empty; choose another, or delete it")
    record = render(request.model_copy(update={"output": local}))
    record |= {"output": url, "command": shlex.join(["python", "tools/generate.py", *_words(request, url)])}
    described = local.with_suffix(".json")
    write_atomic(described, (json.dumps(record, indent=2) + "\n").encode())
    made = sorted(local.iterdir()) if local.is_dir() else [local]
    for _ in remote.send(local.parent, [path.relative_to(local.parent).as_posix() for path in (*made, described)]):
        pass
    shutil.rmtree(local) if local.is_dir() else local.unlink()
    described.unlink()
    return record


def _words(request: GenerateRequest, url: str) -> list[str]:
    return [url if word == str(request.output) else word for word in words_of(request)]

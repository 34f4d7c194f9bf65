"""Preprocessing of videos on servers on this machine: with the extra `remote`, and moto[server] for S3."""

import functools
import http.server
import threading
from collections import Counter

import pytest
from bucket import s3_bucket
from footage import moving_scene, write

from data_prep.config import Preprocess
from data_prep.run import preprocess
from data_prep.work import engine
from data_prep.work.scan import scan
from vidboot.errors import UserError

SETTINGS = Preprocess(height=36, width=64, workers=1).model_copy(
    update={"views": Preprocess().views.model_copy(update={"clip_frames": 8, "full_frames": 32})}
)


class Web(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and counts what it is asked for; breaks off in the middle of files in `broken`."""

    asked: Counter = Counter()
    broken: set = set()

    def do_HEAD(self):
        self.asked["HEAD"] += 1
        super().do_HEAD()

    def do_GET(self):
        self.asked[self.path] += 1
        super().do_GET()

    def copyfile(self, source, outputfile):
        if self.path in self.broken:
            outputfile.write(source.read(1000))
            self.close_connection = True
        else:
            super().copyfile(source, outputfile)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def web(tmp_path):
    """The address of a folder `www`."""
    pytest.importorskip("aiohttp")
    Web.asked.clear()
    Web.broken.clear()
    (tmp_path / "www").mkdir()
    handler = functools.partial(Web, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_videos_of_a_web_server_are_fetched_once_and_a_broken_connection_is_tried_again(web, tmp_path, in_process):
    whole = write(tmp_path / "www/whole.mp4", moving_scene(0, 20))
    write(tmp_path / "www/broken.mp4", moving_scene(1, 20))
    Web.broken.add("/broken.mp4")
    (tmp_path / "list.txt").write_text(f"{web}/whole.mp4\n{web}/broken.mp4\n")
    here = preprocess([whole], tmp_path / "here", SETTINGS)
    first = preprocess([tmp_path / "list.txt"], tmp_path / "out", SETTINGS)
    (shot,), (wanted,) = first.manifest, here.manifest
    assert shot.source == f"{web}/whole.mp4" and (shot.frames() == wanted.frames()).all()
    assert [(one.what, one.reason[:17]) for one in first.set_aside] == [(f"{web}/broken.mp4", "can't be fetched ")]
    Web.broken.clear()
    assert len(preprocess([tmp_path / "list.txt"], tmp_path / "out", SETTINGS).manifest) == 2
    assert preprocess([tmp_path / "list.txt"], tmp_path / "out", SETTINGS).new == 0
    del Web.asked["HEAD"]
    assert Web.asked == {"/whole.mp4": 1, "/broken.mp4": 2}


def test_a_web_address_that_leads_nowhere_is_told(web):
    with pytest.raises(UserError, match=r"^there is no file or folder http://.*/none.mp4; check the input paths$"):
        scan([f"{web}/none.mp4"])
    with pytest.raises(UserError, match=r"^http://127.0.0.1:1/a.mp4 can't be reached \(.*\); check the address"):
        scan(["http://127.0.0.1:1/a.mp4"])


@pytest.fixture
def bucket(monkeypatch):
    """The client of an S3 server on this machine, which has a bucket `films`."""
    with s3_bucket(monkeypatch, "films") as client:
        yield client


def test_videos_of_a_bucket_are_worked_on_by_worker_processes_and_known_afterwards(bucket, tmp_path, monkeypatch):
    film = write(tmp_path / "sea/a.mp4", moving_scene(0, 20))
    bucket.put_file(str(film), "films/in/sea/a.mp4")
    bucket.put_file(str(film), "films/in/twin.mp4")
    # Consoles make such an empty object for a folder.
    bucket.call_s3("put_object", Bucket="films", Key="in/sea/", Body=b"")
    first = preprocess(["s3://films/in/"], tmp_path / "out", SETTINGS)
    (shot,), (wanted,) = first.manifest, preprocess([tmp_path / "sea"], tmp_path / "here", SETTINGS).manifest
    assert (shot.source, shot.label) == ("s3://films/in/sea/a.mp4", "sea")
    assert (shot.frames() == wanted.frames()).all()
    assert [one.reason for one in first.set_aside] == ["the same file as s3://films/in/sea/a.mp4"]
    monkeypatch.setattr(engine.LocalEngine, "_pool_of", None)  # no process is started
    assert preprocess(["s3://films/in"], tmp_path / "out", SETTINGS).new == 0
    bucket.pipe_file("films/in/sea/b.txt", b"no film")
    assert [source.path.name for source in scan(["s3://films/in"])[0]] == ["a.mp4", "b.txt", "twin.mp4"]


def test_a_missing_bucket_and_missing_credentials_are_told(bucket, monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"^there is no file or folder s3://none/in; check the input paths$"):
        scan(["s3://none/in"])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    type(bucket).clear_instance_cache()
    with pytest.raises(UserError, match=r"^s3://films/in can't be reached \(Unable to locate credentials\); check"):
        scan(["s3://films/in"])

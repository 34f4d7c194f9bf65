"""The generating command's dealings with files, with a small untrained model."""

import pytest
from small_model import small_model

from vidboot.model import save


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder: videos of 12 frames of 8×8 pixels; a stream gives 9 frames and then 5 a chunk."""
    folder = tmp_path_factory.mktemp("run")
    save(small_model(), folder)
    return folder


@pytest.mark.parametrize("ending", [".mp4", ""])
def test_a_stream_that_was_stopped_after_its_end_is_finished_again(run, main_of, tmp_path, monkeypatch, ending):
    """Stopped when the output had its name and the record was not written: nothing is lost, nothing made again."""
    output = tmp_path / f"v{ending}"
    arguments = ["--run", run, "--frames", 20, "--steps", 1, "--iterations", 1, "--stream", "--output", output]
    with monkeypatch.context() as patch:
        patch.setattr("vidboot.rendering.write_atomic", stop)
        assert main_of("generate", *arguments) == 130
    files = [output] if ending else sorted(output.iterdir())
    made = [file.read_bytes() for file in files]
    assert not output.with_suffix(".json").exists()
    monkeypatch.setattr("vidboot.streaming.sample", stop)
    assert main_of("generate", *arguments) == 0
    assert [file.read_bytes() for file in files] == made
    assert len(files) == (1 if ending else 20)
    assert output.with_suffix(".json").exists()
    assert not output.with_name(f"v{ending}.unfinished").exists()


def stop(*arguments, **options):
    raise KeyboardInterrupt

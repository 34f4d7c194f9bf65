"""What the page about a run reads from its folder."""

import json

from vidboot.app import run_view


def write_run(run):
    (run / "clip" / "samples").mkdir(parents=True, exist_ok=True)
    lines = [{"step": n, "loss": 1 / n} for n in (10, 20, 30)] + [{"step": 30, "error@0.5": 0.25}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "clip" / "metrics.jsonl").write_text(text + '{"step": 40, "lo')
    for step in (30, 10, 200):
        (run / "clip" / "samples" / f"step-{step:07d}.mp4").write_bytes(b"")
    shot = {"id": "a", "path": "shots/a.mp4", "reason": "shots/a.mp4: truncated"}
    (run / "clip" / "set_aside.jsonl").write_text(json.dumps(shot) + "\n")


def test_curves_samples_and_what_was_set_aside(small_run):
    write_run(small_run)
    assert run_view.stages(small_run) == ["clip"]
    assert run_view.metrics(small_run, "clip") == {
        "loss": ([10, 20, 30], [0.1, 0.05, 1 / 30]),
        "error@0.5": ([30], [0.25]),
    }
    loss, errors = (figure.axes[0] for figure in run_view.curves(small_run, "clip"))
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[10, 0.1], [20, 0.05], [30, 1 / 30]]]
    assert [line.get_xydata().tolist() for line in errors.lines] == [[[30, 0.25]]]
    assert [file.stem[-3:] for file in run_view.samples(small_run, "clip")] == ["010", "030", "200"]
    assert run_view.set_aside(small_run) == [["clip", "shots/a.mp4", "shots/a.mp4: truncated"]]
    assert "can't be read" in run_view.shots_of(small_run)


def test_a_report_is_shown_inside_the_page(small_run):
    assert run_view.reports(small_run) == {}
    page = small_run / "evaluation" / "index.html"
    page.parent.mkdir()
    page.write_text('<p title="a">"quoted" & more</p>')
    assert run_view.reports(small_run) == {"evaluation": page}
    framed = run_view.framed(page)
    assert 'srcdoc="&lt;p title=&quot;a&quot;&gt;&quot;quoted&quot; &amp; more&lt;/p&gt;"' in framed
    page.unlink()
    page.parent.rmdir()

import io
from pathlib import Path

from rich.console import Console

from data_prep.report.outcome import Outcome, ViewTotal
from data_prep.report.tables import print_report
from data_prep.work.scan import Remark, SetAside
from vidboot.data.manifest import VERDICTS, VIEWS


def test_brackets_in_names_are_printed(tmp_path):
    root = tmp_path / "[films]"
    totals = [ViewTotal(view, verdict, 1, 24, 3600.0) for view in VIEWS for verdict in VERDICTS]
    outcome = Outcome(
        root,
        root / "report.html",
        [SetAside("/in/[anime] one.mp4", "the same file as /in/[anime] two.mp4")],
        [Remark(Path("/in/[bold] three.mp4"), "looks like [red] four.mp4")],
        videos=2, new=2, shots=1, totals=totals, frames=10, seconds={"decoding": 1.0},
    )  # fmt: skip
    text = io.StringIO()
    print_report(outcome, Console(file=text, width=200))
    for name in ("[anime] one", "[anime] two", "[bold] three", "[red] four", "[films]/report.html"):
        assert name in text.getvalue()

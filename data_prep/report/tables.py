"""Print the results of a run as tables."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_prep.report.findings import stage_shares
from data_prep.report.outcome import Outcome
from vidboot.data.manifest import FILE_NAME, VERDICTS, VIEWS

# Most lines that are listed for one reason; further ones are only counted.
_LISTED = 20


def print_report(outcome: Outcome, console: Console) -> None:
    """Print hours and shots for each view, what was set aside and why, remarks, and processing times."""
    console.print(_views_table(outcome))
    if outcome.set_aside:
        console.print(_listed("Set aside", "why", [(item.what, item.reason) for item in outcome.set_aside]))
    if outcome.remarks:
        console.print(_listed("Worth knowing", "remark", [(item.what, item.text) for item in outcome.remarks]))
    console.print(_time_table(outcome))
    made = f"{outcome.shots} shots from {outcome.videos} video files, {outcome.new} of them new"
    files = f"manifest: {outcome.url or outcome.root}/{FILE_NAME}\nreport: {outcome.page}"
    console.print(escape(f"{made}\n{files}"), soft_wrap=True)


def _views_table(outcome: Outcome) -> Table:
    table = Table(title="What each view can train on", title_justify="left")
    for name in ("view", "shots", "hours", "frames", *VERDICTS):
        table.add_column(name, justify="left" if name == "view" else "right")
    for view in VIEWS:
        of_view = {total.verdict: total for total in outcome.totals if total.view == view}
        frames, hours = (sum(t.frames for t in of_view.values()), sum(t.seconds for t in of_view.values()) / 3600)
        by_verdict = [of_view[name].shots for name in VERDICTS]
        table.add_row(view, str(sum(by_verdict)), f"{hours:.3f}", *map(str, [frames, *by_verdict]))
    return table


def _listed(title: str, column: str, lines: Sequence[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("what", overflow="fold")
    table.add_column(column, overflow="fold")
    listed: Counter[str] = Counter()
    for what, text in lines:
        listed[text] += 1
        if listed[text] <= _LISTED:
            table.add_row(escape(what), escape(text))
    for text, count in listed.items():
        if count > _LISTED:
            table.add_row(f"and {count - _LISTED} more", escape(text))
    return table


def _time_table(outcome: Outcome) -> Table:
    table = Table(title="Where the time goes (of one core)", title_justify="left")
    for name in ("stage", "share", "frames/s"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage, share, rate in stage_shares(outcome.seconds, outcome.frames):
        table.add_row(stage, f"{share:.0%}", f"{rate:.0f}")
    return table

"""What a run found, as tables on the console."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from data_prep.run import Outcome
from vidboot.data.manifest import FILE_NAME, VERDICTS, VIEWS

# More lines than this of one reason are counted, not listed.
_LISTED = 20


def print_report(outcome: Outcome, console: Console) -> None:
    """Print hours and shots for each view, and what was set aside with its reason."""
    console.print(_views_table(outcome))
    if outcome.set_aside:
        console.print(_set_aside_table(outcome))
    made = f"{len(outcome.manifest)} shots from {outcome.videos} video files, {outcome.new} of them new"
    files = f"manifest: {outcome.manifest.root / FILE_NAME}\nreport: {outcome.page}"
    console.print(f"{made}\n{files}", soft_wrap=True)


def _views_table(outcome: Outcome) -> Table:
    table = Table(title="What each view can train on", title_justify="left")
    for name in ("view", "shots", "hours", "frames", *VERDICTS):
        table.add_column(name, justify="left" if name == "view" else "right")
    for view in VIEWS:
        shots = outcome.manifest.supplying(view)
        hours = sum(shot.num_frames / shot.fps for shot in shots) / 3600
        verdicts = Counter(shot.verdict for shot in shots)
        numbers = [sum(shot.num_frames for shot in shots), *(verdicts[name] for name in VERDICTS)]
        table.add_row(view, str(len(shots)), f"{hours:.3f}", *map(str, numbers))
    return table


def _set_aside_table(outcome: Outcome) -> Table:
    table = Table(title="Set aside", title_justify="left")
    table.add_column("what", overflow="fold")
    table.add_column("why", overflow="fold")
    listed: Counter[str] = Counter()
    for item in outcome.set_aside:
        listed[item.reason] += 1
        if listed[item.reason] <= _LISTED:
            table.add_row(item.what, item.reason)
    for reason, count in listed.items():
        if count > _LISTED:
            table.add_row(f"and {count - _LISTED} more", reason)
    return table

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def evaluate(*arguments):
    command = [sys.executable, str(ROOT / "tools/evaluate.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_help_names_the_evaluations():
    result = evaluate("--help")
    assert result.returncode == 0
    assert "theory" in result.stdout


def test_mistakes_are_messages_and_not_tracebacks():
    for arguments, message in [
        ([], "WHAT"),
        (["theory"], "--output"),
        (["theroy"], "invalid choice"),
        (["theory", "--output", "x", "--seed", "one"], "invalid int"),
    ]:
        result = evaluate(*arguments)
        assert result.returncode == 2
        assert message in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_theory_is_the_same_for_the_same_seed_and_its_claims_hold(tmp_path):
    for name in ("first", "second"):
        result = evaluate("theory", "--output", tmp_path / name, "--seed", 5)
        assert result.returncode == 0, result.stderr
        assert str(tmp_path / name / "index.html") in result.stdout
    first, second = ((tmp_path / name / "theory.json").read_bytes() for name in ("first", "second"))
    assert first == second
    assert all(finding["holds"] is not False for finding in json.loads(first)["findings"])

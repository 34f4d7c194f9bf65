"""The house's plan: rooms import downwards only and in no circle; functions, files and parameter lists stay small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("vidboot", "data_prep", "tools")
FLOORS = (
    ("vidboot.errors",),
    ("vidboot.settings", "vidboot.distributed", "vidboot.launch", "vidboot.seeds", "vidboot.pages"),
    ("vidboot.options",),
    ("vidboot.method",),
    ("vidboot.networks", "vidboot.data"),
    ("vidboot.config",),
    ("vidboot.model",),
    ("vidboot.generation", "vidboot.training"),
    ("vidboot.evaluation",),
    ("vidboot.experiments",),
    ("data_prep.config", "data_prep.work"),
    ("data_prep.video", "data_prep.text"),
    ("data_prep.measure", "data_prep.overlays", "data_prep.finder"),
    ("data_prep.analysis_types", "data_prep.finder_training"),
    ("data_prep.evidence",),
    ("data_prep.analysis",),
    ("data_prep.masking",),
    ("data_prep.report",),
    ("data_prep.jobs",),
    ("data_prep.tasks",),
    ("data_prep.manifest_rows",),
    ("data_prep",),
    ("vidboot.app",),
    ("tools",),
)
"""Rooms from the ground up: each imports from lower floors, and from itself. `vidboot` itself only hands names on."""
METHOD_MAY_IMPORT = {"torch", "numpy", "scipy", "einops", "jaxtyping"}
LONGEST = {"function": 40, "file": 300, "parameters": 7}


def modules() -> dict[str, Path]:
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


MODULES = modules()


def imported(path: Path) -> set[str]:
    """Names of all modules that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def arrows() -> set[tuple[str, str]]:
    return {(name, other) for name, path in MODULES.items() for other in imported(path) & MODULES.keys() - {name}}


def floor_of(module: str) -> int:
    return next(n for n, rooms in enumerate(FLOORS) if room_of(module) in rooms)


def room_of(module: str) -> str:
    """The smallest room that holds the module."""
    return max((room for rooms in FLOORS for room in rooms if f"{module}.".startswith(f"{room}.")), key=len)


def test_every_module_is_in_a_room():
    assert len(MODULES) > 100
    for module in MODULES.keys() - {"vidboot"}:
        floor_of(module)


def test_no_import_runs_upwards_or_across():
    wrong = [
        f"{a} -> {b}"
        for a, b in arrows()
        if a != "vidboot" and (b == "vidboot" or (room_of(a) != room_of(b) and floor_of(a) <= floor_of(b)))
    ]
    assert not wrong


def test_no_import_runs_in_a_circle():
    after: dict[str, set[str]] = {name: set() for name in MODULES}
    for a, b in arrows():
        after[a].add(b)
    # `vidboot` hands on names from all rooms; that no room imports it is asked by the test above.
    left = dict(after)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"in or above a circle: {sorted(left)}"


def test_the_method_imports_nothing_of_the_project():
    for name in (name for name in MODULES if name.startswith("vidboot.method")):
        others = {module.split(".")[0] for module in imported(MODULES[name])} & installed()
        assert others <= METHOD_MAY_IMPORT, name
        assert all(m.startswith("vidboot.method") for m in imported(MODULES[name]) if m.startswith("vidboot")), name


def installed() -> set[str]:
    """Top-level packages that come from outside Python's own library."""
    import sys

    named = {module.split(".")[0] for path in MODULES.values() for module in imported(path)}
    return named - set(sys.stdlib_module_names) - {"vidboot", "data_prep", "tools", "vidboot_tools"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_functions_files_and_parameter_lists_are_small(module):
    text = MODULES[module].read_text()
    assert text.count("\n") <= LONGEST["file"]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            assert length <= LONGEST["function"], f"{node.name} has {length} lines"
            assert count <= LONGEST["parameters"], f"{node.name} has {count} parameters"

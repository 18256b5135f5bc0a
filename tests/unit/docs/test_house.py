"""The house is as its pages draw it: arrows, floors, folders, and the functions on the three ways."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
AGENT = ROOT / "agent" / "epochseal"
FOLDERS = {path.parent.name for path in AGENT.glob("*/__init__.py")}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DRAWING = (
    (ROOT / "docs" / "architecture.md")
    .read_text(encoding="utf-8")
    .partition("```mermaid")[2]
    .partition("```")[0]
)
WAYS = CONTRIBUTING.partition("## Three ways")[2].partition("\n## ")[0]


def imported(path: Path) -> set[str]:
    """The folders and files right below `epochseal` that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by a relative name, which this test does not follow"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("epochseal.")}
    return found


def test_the_drawing_has_the_arrows_of_the_code() -> None:
    """Each import between two folders is an arrow, and each arrow is an import."""
    code = {
        (folder, other)
        for folder in FOLDERS
        for path in (AGENT / folder).rglob("*.py")
        for other in imported(path) & FOLDERS - {folder}
    }
    lines = [line.split("-->") for line in DRAWING.splitlines() if "-->" in line]
    drawn = [(begin.strip(), end.strip()) for begin, ends in lines for end in ends.split("&")]
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) == code


def floors() -> list[str]:
    """The lines of the linter's contract, the highest floor first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (item["layers"] for item in settings["contracts"] if item["name"] == "floors")
    return [str(layer) for layer in layers]


def test_the_page_prints_the_floors_of_the_linter() -> None:
    """CONTRIBUTING.md has the lines of pyproject.toml that hold folders, letter for letter."""
    printed = CONTRIBUTING.partition("## The tree")[2].split("```")[1].split("\n")[1:-1]
    assert printed == [floor for floor in floors() if set(re.findall(r"\w+", floor)) & FOLDERS]


def test_the_drawing_has_the_floors_of_the_linter() -> None:
    """Folders that stand together there stand together in pyproject.toml, in the same order."""
    held = [{name for name in re.findall(r"\w+", floor) if name in FOLDERS} for floor in floors()]
    drawn: list[set[str]] = []
    for line in map(str.strip, DRAWING.splitlines()):
        if line.startswith("subgraph "):
            drawn.append(set())
        elif line in FOLDERS:
            drawn[-1].add(line)
    assert drawn == [floor for floor in held if floor]


def test_the_ground_imports_no_folder() -> None:
    """Files beside the folders stand on each other alone; `__init__` and `__main__` are the doors."""
    doors = {"__init__.py", "__main__.py"}
    found = {path.name: imported(path) & FOLDERS for path in AGENT.glob("*.py") if path.name not in doors}
    assert not any(found.values()), found


def test_no_two_files_share_a_name() -> None:
    """Outside of cli/, whose files are named for their commands, a file's name alone says which one it is."""
    paths = [path.relative_to(AGENT) for path in AGENT.rglob("*.py") if path.name != "__init__.py"]
    count = Counter(path.stem for path in paths if path.parts[0] != "cli")
    assert len(count) > 100
    assert not [stem for stem, files in count.items() if files > 1]


def test_every_folder_has_its_line() -> None:
    """CONTRIBUTING.md lists exactly the folders, and every file beside them."""
    tree = CONTRIBUTING.partition("## The tree")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in tree.splitlines() if line.startswith("| ")]
    listed = {name for cell, _ in rows for name in re.findall(r"`(\w+)/`", cell)}
    assert listed == FOLDERS
    (ground,) = (said for name, said in rows if name.strip() == "the ground")
    files = {path.stem for path in AGENT.glob("*.py") if not path.name.startswith("__")}
    assert set(re.findall(r"`(\w+)`", ground)) == files


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+(?:\.\w+)+)`", WAYS))))
def test_a_function_on_the_ways_exists(name: str) -> None:
    """What a newcomer is sent to is there, and can be called."""
    parts = name.split(".")
    start = next(
        end for end in range(len(parts), 0, -1) if (AGENT.joinpath(*parts[:end])).with_suffix(".py").is_file()
    )
    found: object = import_module(".".join(["epochseal", *parts[:start]]))
    for part in parts[start:]:
        found = getattr(found, part)
    assert callable(found) or isinstance(found, property)


def test_the_ways_name_functions() -> None:
    """Three ways of a good ten steps each: the test above has something to look at."""
    tables = WAYS.split("**One ")[1:]
    assert [table.split(",")[0] for table in tables] == ["entry", "secret", "byte"]
    assert all(table.count("\n| `") >= 14 for table in tables)


def test_files_that_the_page_names_exist() -> None:
    """A file that the page sends somebody to is one of the agent's, of a backend, or of the tests."""
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", CONTRIBUTING))
    places = (ROOT, AGENT, ROOT / "backends" / "epochseal_backends")
    assert len(named) > 20
    assert not {name for name in named if not any((place / name).is_file() for place in places)}

"""What the pages say of commands and of kinds, written from the code.

`make docs` puts the page of all commands into the site. `make reference`, that is

    python -m docs.site.reference

writes the two tables of docs/verify.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deploy.package.commands import Command, all_commands
from epochseal.verifier import PROBLEMS, WARNINGS

DOCS = Path(__file__).resolve().parents[1]

_HEAD = """# Commands and options

Written from the program. [cli.md](cli.md) explains exit statuses, key URIs and JSON.
"""


def main() -> None:
    """Write the tables anew."""
    page = DOCS / "verify.md"
    page.write_text(with_kinds(page.read_text(encoding="utf-8")), encoding="utf-8")


def commands_page() -> str:
    """Every command, with its help and its options."""
    return "\n".join([_HEAD, *(line for command in all_commands() for line in _section(command))]) + "\n"


def _section(command: Command) -> Iterator[str]:
    yield f"## {command.name}\n"
    yield f"```text\n{command.name} {command.usage}\n```\n"
    for kept, text in command.paragraphs:
        yield f"```text\n{text}\n```\n" if kept else f"{_plain(text)}\n"
    if command.options:
        yield "| option | |\n|---|---|"
        yield from (
            f"| `{_cell(option.typed)}` | {_cell(_plain(option.says))} |" for option in command.options
        )
        yield ""


def with_kinds(page: str) -> str:
    """A page with the tables of problems and warnings as the verifier has them."""
    problems = [
        f"| `{name}` | {kind.grade} | {kind.says} | {kind.advice} |" for name, kind in PROBLEMS.items()
    ]
    warnings = [f"| `{name}` | {kind.says} | {kind.advice} |" for name, kind in WARNINGS.items()]
    page = _replaced(page, "problem kinds", problems)
    return _replaced(page, "warning kinds", warnings)


def _replaced(page: str, name: str, rows: list[str]) -> str:
    """The rows below a table's head, which stays as it is, between two comments."""
    before, begin, rest = page.partition(f"<!-- {name} -->")
    table, end, after = rest.partition(f"<!-- end of {name} -->")
    head = [line for line in table.splitlines() if line.startswith("|")][:2]
    lines = "\n".join([*head, *rows])
    return f"{before}{begin}\n{lines}\n{end}{after}"


def _plain(text: str) -> str:
    """Text of the help, of which Markdown makes nothing else."""
    return text.replace("*", "\\*").replace("<", "&lt;")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()

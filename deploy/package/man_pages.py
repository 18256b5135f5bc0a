"""Man pages and shell completion, made from the commands themselves.

    python -m deploy.package.man_pages FOLDER

writes FOLDER/man1 and FOLDER/completion.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from deploy.package.commands import Command, all_commands
from epochseal.version import __version__

SHELLS = {"bash": "epochseal", "zsh": "_epochseal", "fish": "epochseal.fish"}
"""The shells that click completes for, and the names under which they look for it."""


def main() -> None:
    """Write all of them below the folder that is named."""
    folder = Path(sys.argv[1])
    pages = folder / "man1"
    pages.mkdir(parents=True, exist_ok=True)
    commands = list(all_commands())
    for command in commands:
        text = man_page(command, [item for item in commands if item.words[:-1] == command.words])
        (pages / f"{'-'.join(command.words)}.1").write_text(text, encoding="utf-8")
    completion = folder / "completion"
    completion.mkdir(exist_ok=True)
    for shell, name in SHELLS.items():
        (completion / name).write_text(completion_script(shell), encoding="utf-8")


def man_page(command: Command, below: list[Command]) -> str:
    """The page of one command in the macros of man(7), with a list of those below it."""
    (_, summary), *more = command.paragraphs
    title = "-".join(command.words).upper()
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    lines = [
        f'.TH "{title}" 1 "{date}" "epochseal {__version__}" "epochseal"',
        ".SH NAME",
        f"{_roff('-'.join(command.words))} \\- {_roff(summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_roff(command.name)}",
        _roff(command.usage),
        ".SH DESCRIPTION",
        ".PP",
        _roff(summary),
    ]
    for kept, text in more:
        lines += [".PP", ".nf", _roff(text), ".fi"] if kept else [".PP", _roff(text)]
    if command.options:
        lines.append(".SH OPTIONS")
    for option in command.options:
        lines += [".TP", f".B {_roff(option.typed)}", _roff(option.says)]
    if below:
        lines.append(".SH COMMANDS")
    for item in below:
        lines += [".TP", f".B {_roff(item.words[-1])}", _roff(item.paragraphs[0][1])]
    others = below or [command]
    pages = {"-".join(item.words) for item in others} | {"epochseal"}
    lines += [".SH SEE ALSO", ", ".join(f"\\fB{_roff(page)}\\fR(1)" for page in sorted(pages))]
    return "\n".join(lines) + "\n"


def completion_script(shell: str) -> str:
    """What the program itself gives that shell to complete its commands and options."""
    environment = {**os.environ, "_EPOCHSEAL_COMPLETE": f"{shell}_source"}
    command = [str(Path(sys.executable).with_name("epochseal"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def _roff(text: str) -> str:
    """Text that troff takes as it is: a hyphen stays one, and no line is a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.split("\n"))


if __name__ == "__main__":
    main()

"""Every command of every page is run by a test, or says why not; and all of them are the program's."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.package.commands import Command, all_commands
from docs.site.reference import commands_page
from tests.unit.docs.command_blocks import ROOT, RUN_BY, Block, blocks_of, invocations, pages


@pytest.fixture(scope="module")
def commands() -> dict[tuple[str, ...], Command]:
    """The program's commands by their words."""
    return {command.words: command for command in all_commands()}


def command_blocks() -> list[Block]:
    """All blocks that are there to be typed."""
    return [block for path in pages() for block in blocks_of(path) if block.is_command]


def test_every_block_is_run_or_says_why_not() -> None:
    """A block without a mark stands on a page that a test runs; each such page has one."""
    run = {block.page for block in command_blocks() if not block.reason}
    assert run == set(RUN_BY)
    assert all((ROOT / test).is_file() for test in RUN_BY.values())


def test_marks_name_what_exists() -> None:
    """A test that a mark names in the place of the block is there."""
    named = {word.strip("`,;") for block in command_blocks() for word in block.reason.split() if "/" in word}
    assert len(named) > 5
    assert not {name for name in named if not (ROOT / name).exists()}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_options_exist(page: Path, commands: dict[tuple[str, ...], Command]) -> None:
    """What a page says to type, run or not, is a command of the program with options that it has."""
    for block in blocks_of(page):
        for words in invocations(block.text):
            path: tuple[str, ...] = ("epochseal",)
            while len(words) >= len(path) and (*path, words[len(path) - 1]) in commands:
                path = (*path, words[len(path) - 1])
            known = {
                name for option in commands[path].options for name in option.typed.replace(",", " ").split()
            }
            options = words[len(path) - 1 :]
            options = options[: options.index("--")] if "--" in options else options
            wrong = {word for word in options if word.startswith("-") and word.partition("=")[0] not in known}
            assert not wrong, (block.page, block.line, path)
            assert len(path) > 1 or set(options) <= {"--help", "--version"}, (block.page, block.line, words)


def test_the_reference_has_every_command(commands: dict[tuple[str, ...], Command]) -> None:
    """The page that `make docs` writes has each command with each of its options."""
    assert len(commands) > 25
    page = commands_page()
    for command in commands.values():
        section = page.partition(f"\n## {command.name}\n")[2].partition("\n## ")[0]
        assert section
        assert all(option.typed.replace("|", "\\|") in section for option in command.options)

"""Every command of the program as click has it: for man pages and for the reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import cleandoc

import click

from epochseal.cli.program import cli


@dataclass(frozen=True, slots=True)
class Option:
    """An option as it is typed, and what it is for."""

    typed: str
    says: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, what stands behind them, and its help in paragraphs.

    `kept` of a paragraph: its lines stay as they are, as in an example.
    """

    words: tuple[str, ...]
    usage: str
    paragraphs: tuple[tuple[bool, str], ...]
    options: tuple[Option, ...]

    @property
    def name(self) -> str:
        """As it is typed."""
        return " ".join(self.words)


def all_commands() -> Iterator[Command]:
    """The program itself, then each command with its subcommands, in the order of the help."""
    yield from _walk(cli, ("epochseal",), None)


def _walk(command: click.Command, words: tuple[str, ...], parent: click.Context | None) -> Iterator[Command]:
    with click.Context(command, info_name=words[-1], parent=parent) as ctx:
        usage = " ".join(command.collect_usage_pieces(ctx))
        options = [
            _option(item, ctx)
            for item in command.get_params(ctx)
            if isinstance(item, click.Option) and not item.hidden
        ]
        yield Command(words, usage, tuple(_paragraphs(command.help or "")), tuple(options))
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                below = command.get_command(ctx, name)
                assert below is not None  # noqa: S101  # for the type checker: the group has just listed it
                yield from _walk(below, (*words, name), ctx)


def _option(option: click.Option, ctx: click.Context) -> Option:
    typed = ", ".join([*option.opts, *option.secondary_opts])
    if not (option.is_flag or option.count):
        typed += f" {option.make_metavar(ctx)}"
    return Option(typed, option.help or "")


def _paragraphs(text: str) -> Iterator[tuple[bool, str]]:
    """A docstring as click reads it: a line with a backspace alone keeps the lines behind it."""
    for paragraph in cleandoc(text).partition("\f")[0].split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield True, paragraph.removeprefix("\b\n")
        elif paragraph.strip():
            yield False, " ".join(paragraph.split())

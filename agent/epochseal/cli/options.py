"""Option types and groups that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from epochseal.cli.error_messages import Misuse
from epochseal.config.state_dir import default_state_dir, parse_state_dir
from epochseal.encoding import b64decode
from epochseal.errors import EpochsealError
from epochseal.format.note import check_origin
from epochseal.keys import parse_key_uri
from epochseal.sealing import defaults
from epochseal.storage.archive_path import parse_archive, parse_log_place
from epochseal.units import format_duration, format_size, parse_duration, parse_size

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    # A subscript is refused by the older of the versions that we take.
    _ParamType = click.ParamType


class LogPlace(click.Path):
    """A log that is read: a directory, or an archive by its URL."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:  # noqa: ANN401  # click's signature
        """As click asks: the path, or a usage error."""
        if not isinstance(value, str) or "://" not in value:
            return super().convert(value, param, ctx)
        try:
            return parse_log_place(value)
        except EpochsealError as exc:
            raise Misuse(str(exc), exc.hint, ctx) from exc


class Parsed(_ParamType):
    """An option whose text is read by one of our strict parsers; its error and hint become a usage error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401  # click's signature
        """As click asks: the parsed value, or a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except EpochsealError as exc:
            name = f"{param.opts[0]}: " if param is not None and param.opts else ""
            raise Misuse(f"{name}{exc}", exc.hint, ctx) from exc


SIZE = Parsed("size", parse_size)
DURATION = Parsed("duration", parse_duration)
KEY_URI = Parsed("uri", parse_key_uri)
ORIGIN = Parsed("origin", check_origin)
LOG_ID = Parsed("log id", lambda text: b64decode(text, "log id", 32))
START = Parsed("hash", lambda text: b64decode(text, "hash of a start", 32))
STATE_DIR = Parsed("directory", parse_state_dir)
LOGDIR = click.Path(file_okay=False, path_type=Path)
LOG_PLACE = LogPlace(file_okay=False, path_type=Path)
TRUST = click.Path(dir_okay=False, path_type=Path)
ARCHIVE = Parsed("archive", parse_archive)

env_option = click.option(
    "--env", metavar="NAME", help="Overlay [env.NAME]; by default what EPOCHSEAL_ENV names."
)
"""Of every command that reads an agent's or a monitor's file."""


state_option = click.option(
    "--state-dir",
    type=STATE_DIR,
    default=default_state_dir,
    metavar="DIR|none",
    help="Where the agent remembers its logs. [default: $STATE_DIRECTORY, or ~/.local/state/epochseal]",
)

log_option = click.option(
    "--log", type=LOG_ID, metavar="ID", help="The id that the log must have, as its owner told it to you."
)

archive_option = click.option(
    "--archive",
    type=ARCHIVE,
    metavar="URL",
    help="Where segments are that have left LOGDIR, as s3://BUCKET/PREFIX.",
)

raw_option = click.option(
    "--raw", is_flag=True, help="Print bytes as they are, to a terminal too: they may steer it."
)


def sealing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command that seals; they arrive as one `SealOptions` in `options`."""

    @functools.wraps(command)
    def with_options(**given: Any) -> Any:  # noqa: ANN401  # whatever click hands over
        from epochseal.service.launch import SealOptions

        names = SealOptions.__dataclass_fields__
        options = SealOptions(**{name: given.pop(name) for name in list(given) if name in names})
        return command(options=options, **given)

    decorated: Callable[..., Any] = with_options
    for option in reversed(_SEALING):
        decorated = option(decorated)
    return decorated


_SEALING = [
    click.argument("logdir", type=LOGDIR),
    click.option("--origin", type=ORIGIN, required=True, help="Name of the log, as example.com/payments."),
    click.option(
        "--epoch-key", type=KEY_URI, required=True, metavar="URI", help="Key that issues epoch secrets."
    ),
    click.option(
        "--checkpoint-key", type=KEY_URI, required=True, metavar="URI", help="Key that signs checkpoints."
    ),
    click.option(
        "--epoch-interval",
        type=DURATION,
        default=format_duration(defaults.EPOCH_INTERVAL),
        show_default=True,
        help="Epoch length.",
    ),
    click.option("--epoch-max-entries", type=click.IntRange(1), metavar="N", help="Entries in an epoch."),
    click.option(
        "--commit-interval",
        type=DURATION,
        default=format_duration(defaults.COMMIT_INTERVAL),
        show_default=True,
        help="What arrives within this time is committed together.",
    ),
    click.option(
        "--block-bytes",
        type=SIZE,
        default=format_size(defaults.BLOCK_BYTES),
        show_default=True,
        help="Bytes committed as one block.",
    ),
    click.option(
        "--segment-bytes",
        type=SIZE,
        default=format_size(defaults.SEGMENT_BYTES),
        show_default=True,
        help="Size of a file pair.",
    ),
    click.option(
        "--segment-age", type=DURATION, help="Age at which a new file pair begins; SIGHUP begins one too."
    ),
    click.option(
        "--max-entry-bytes",
        type=SIZE,
        default=format_size(defaults.MAX_ENTRY_BYTES),
        show_default=True,
        help="Longer ends the command.",
    ),
    click.option(
        "--runtime-dir",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="On tmpfs: a killed or restarted agent goes on with the same chain.",
    ),
    state_option,
]

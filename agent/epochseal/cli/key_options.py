"""The options of every command that checks: which keys, and the file in which a verifier's keys stand."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from epochseal.cli.error_messages import Misuse
from epochseal.cli.options import KEY_URI, ORIGIN, env_option
from epochseal.errors import ConfigError
from epochseal.keys import KeyURI

if TYPE_CHECKING:
    from epochseal.api.given_keys import LogKeys
    from epochseal.config import Configuration, LogConfig


class KeyOptions(msgspec.Struct, frozen=True):
    """What was given of them. The configuration has been read; keys have not been looked at yet."""

    config: Configuration | None
    epoch_keys: tuple[KeyURI, ...]
    checkpoint_key: str | None
    origin: str | None

    @property
    def any_key(self) -> bool:
        """Whether a key was named, here or in the file."""
        return self.config is not None or bool(self.epoch_keys) or self.checkpoint_key is not None

    def logs(self) -> tuple[LogConfig, ...]:
        """The logs of the file, or the one of the origin that was named.

        Raises:
            ConfigError: there is no file, or it has no such log.
        """
        if self.config is None:
            raise ConfigError("no log was named", "name its directory, or the --config that has it")
        found = tuple(log for log in self.config.logs if self.origin in (None, log.origin))
        if not found:
            known = ", ".join(log.origin for log in self.config.logs)
            raise ConfigError(f"{self.config.path} has no log {self.origin}", f"its logs are: {known}")
        return found

    def of_log(self, logdir: Path | None) -> LogKeys:
        """The keys of the log in this directory; what an option names comes before what the file names.

        Raises:
            ConfigError: the file has no such log, or it has another origin.
        """
        from epochseal.api.given_keys import LogKeys, keys_of_file

        keys = LogKeys(epoch_keys=self.epoch_keys, checkpoint_key=self.checkpoint_key, origin=self.origin)
        return keys_of_file(self.config, logdir, keys) if self.config is not None else keys


def key_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--config`, `--env` and those of these names; they arrive as one `KeyOptions` in `keys`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_keys(**given: Any) -> Any:  # noqa: ANN401  # whatever click hands over
            config, env = given.pop("config"), given.pop("env")
            epoch_keys: tuple[KeyURI, ...] = given.pop("epoch_key", ())
            if "epoch_key" in names and (config is not None or epoch_keys):
                from epochseal.custody.memory import harden_process

                # Before it has a key. This process is ours, as that of a caller of the API is not.
                harden_process()
            checkpoint_key, origin = given.pop("checkpoint_key", None), given.pop("origin", None)
            keys = KeyOptions(_read(config, env), epoch_keys, checkpoint_key, origin)
            return command(keys=keys, **given)

        decorated: Callable[..., Any] = with_keys
        for option in reversed([*_FILE, *(_KEYS[name] for name in names)]):
            decorated = option(decorated)
        return decorated

    return decorate


def _read(path: Path | None, env: str | None) -> Configuration | None:
    if path is None:
        if env is not None:
            what = "--env chooses an overlay of a file, and none is named"
            raise Misuse(what, "name it with --config", click.get_current_context())
        return None
    from epochseal.config import read_config

    return read_config(path, env, sealing=False)


_FILE = [
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="TOML file that names the keys, with the verifier's login in [verifier].",
    ),
    env_option,
]
_KEYS = {
    "epoch_key": click.option(
        "--epoch-key",
        type=KEY_URI,
        multiple=True,
        metavar="URI",
        help="Key that recovers epoch secrets (the verifier's role); "
        "again for each that the log went through.",
    ),
    "checkpoint_key": click.option(
        "--checkpoint-key", metavar="URI|FILE", help="Public checkpoint key: a key URI or a vkey file."
    ),
    "origin": click.option("--origin", type=ORIGIN, help="The origin that the log must have."),
}

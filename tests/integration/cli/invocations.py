"""Every command with words that are good, and once for each place that it takes: from the program itself.

A command or an argument that is new is found by walking the program; what has no good words here is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import click

from epochseal.cli.program import cli
from tests.integration.logs import ORIGIN

STRANGE = "STRANGE"
"""Stands for the name of what is put in the place."""
Words = Mapping[str, str]
_AGENT = {"epoch_key": "file:keys/agent", "checkpoint_key": "file:keys/agent"}
_VERIFIER = {"epoch_key": "file:keys/verifier", "checkpoint_key": "file:keys/auditor"}
_SEALING = {"logdir": "new", "origin": ORIGIN, **_AGENT, "state_dir": "none"}
_URIS = {"epoch_key", "checkpoint_key"}
GOOD: dict[str, Words] = {
    "keygen": {"directory": "newkeys"},
    "seal": _SEALING,
    "exec": {**_SEALING, "command": "true"},
    "run": {"path": "run.toml"},
    "verify": {"logdirs": "log", **_VERIFIER},
    "archive": {"path": "archive.toml", "once": ""},
    "monitor": {"path": "monitor.toml", "once": ""},
    "monitor acknowledge": {"log": ORIGIN, "path": "monitor.toml", "reason": "r"},
    "monitor forget": {"log": ORIGIN, "path": "monitor.toml", "reason": "r"},
    "trust": {"logdir": "log", **_VERIFIER, "output": "new.trust"},
    "forget": {"logdir": "log", "state_dir": "state"},
    "prove": {"logdir": "log", "entry": "0"},
    "check-proof": {"file": "entry.proof", "checkpoint_key": "file:keys/auditor"},
    "public-key": {"key": "file:keys/auditor", "origin": ORIGIN},
    "cat": {"logdir": "log", **_VERIFIER},
    "inspect": {"logdir": "log"},
    "copy": {"logdir": "log", "dest": "copy"},
    "witness keygen": {"directory": "newwitness", "name": "witness.example/w"},
    "witness serve": {"directory": "witness", "logs": "log.vkey", "listen": "127.0.0.1:0"},
    "witness submit": {"logdirs": "log", "policy": "policy"},
    "timestamp add": {"logdir": "log", "url": "http://127.0.0.1:9/"},
    "timestamp check": {"logdir": "log", "authority": "authority.pem", "checkpoint_key": "file:keys/auditor"},
    "prune": {"logdir": "log", "keep": "1d", **_AGENT, "state_dir": "state"},
    "rotate": {"path": "run.toml", "reason": "r", "checkpoint_key": "file:nextkeys/agent"},
    "reconcile": {"logdir": "log", "trail": "trail"},
    "doctor": {"path": "run.toml"},
    "demo": {"keep": "demo"},
}
"""By the names of the parameters. Files of these names lie in the folder that `scenery.py` makes."""
# A place that makes no sense beside others takes theirs.
_ALONE = {"config": {*_URIS, "key", "logdirs", "policy"}}
# A place that is looked at only beside another.
_WITH = {"digest_key": {"digests": "trail"}, "digests": {"digest_key": "log.vkey"}}
_TEXTS = {"checkpoint_key", "key"}
"""Places of a key that may be a file's, though the program takes them as text."""
LOG_FILES = ("checkpoint", "segments", "segments/FIRST.log", "segments/FIRST.seal", "witnessed", "timestamps")
"""Places within a log; FIRST is its first segment."""


@dataclass(frozen=True)
class Invocation:
    """A command, and where in it something strange stands: in its words, or `inside`, as a file of the log.

    Attributes:
        command: its name, with that of the group.
        place: the parameter or the file.
    """

    command: str
    place: str
    words: tuple[str, ...]
    inside: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.command} {self.place}".rstrip()

    def given(self, strange: str) -> list[str]:
        """The words with that in the place."""
        return [word.replace(STRANGE, strange) for word in self.words]


def leaves(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command of the program that does something by itself, by its words."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield " ".join(path), command
    if not isinstance(command, click.Group):
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from leaves(found, (*path, name))


def plain() -> list[Invocation]:
    """Every command with its good words."""
    return [Invocation(name, "", tuple(_words(name, command, GOOD[name]))) for name, command in leaves()]


def strange() -> list[Invocation]:
    """Every command once for each place, and once for each file of the log that it reads."""
    made = []
    for name, command in leaves():
        for parameter in filter(_is_place, command.params):
            place = str(parameter.name)
            given = {key: text for key, text in GOOD[name].items() if key not in _ALONE.get(place, set())}
            uri = parameter.type.name == "uri"
            given |= {**_WITH.get(place, {}), place: f"file:{STRANGE}" if uri else STRANGE}
            made.append(Invocation(name, parameter.opts[0], tuple(_words(name, command, given))))
        if "log" in GOOD[name].values() or name == "monitor":
            words = tuple(_words(name, command, GOOD[name]))
            made += [Invocation(name, file, words, inside=True) for file in LOG_FILES]
    return made


def _is_place(parameter: click.Parameter) -> bool:
    kind = parameter.type
    return isinstance(kind, click.Path) or kind.name in {"uri", "directory"} or parameter.name in _TEXTS


def _words(name: str, command: click.Command, given: Words) -> list[str]:
    options: list[str] = []
    arguments: list[str] = []
    for parameter in command.params:
        value = given.get(str(parameter.name))
        if value is None:
            continue
        if isinstance(parameter, click.Argument):
            arguments += [*(["--"] if parameter.name == "command" else []), value]
        else:
            flag = isinstance(parameter, click.Option) and parameter.is_flag
            options += [parameter.opts[0]] if flag else [parameter.opts[0], value]
    unknown = set(given) - {str(parameter.name) for parameter in command.params}
    assert not unknown, f"{name} has no {unknown}"
    return [*name.split(), *options, *arguments]

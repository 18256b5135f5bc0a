"""A configuration as it is in force: every value with the place that set it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from epochseal.config.schema import Compression
from epochseal.config.source_tables import SourceTable
from epochseal.config.state_dir import StateDir
from epochseal.format.witness_policy import Policy
from epochseal.keys import BackendSettings, KeyURI
from epochseal.storage.archive_path import ArchivePath


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was set: `default`, `top level`, `log`, `env.NAME` …; its line, 0 for a default."""

    place: str
    line: int


@dataclass(frozen=True, slots=True)
class Value:
    """A setting: `text` as it was written, `value` in ms, in bytes, or as what it names."""

    text: str
    value: Any
    origin: Origin


NOT_SET = Value("none", None, Origin("default", 0))


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """The keys of one log as a verifier has them, and its settings of their backends.

    `values` has `epoch_key`, `checkpoint_key` and settings such as `vault.address`, each if it is set.
    `own`: whether the file has a `[verifier]` table for this log.
    """

    values: Mapping[str, Value]
    own: bool

    @property
    def epoch_keys(self) -> tuple[KeyURI, ...]:
        """Those that recover, one or several."""
        return cast("tuple[KeyURI, ...]", self.values["epoch_key"].value)

    @property
    def checkpoint_key(self) -> str:
        """A key URI, a vkey, or the name of a file that holds one."""
        return cast("str", self.values["checkpoint_key"].value)

    @property
    def backend_settings(self) -> BackendSettings:
        """What the backends of its keys are handed, by family."""
        return _by_family(self.values)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """One log. `values` has every setting by its name in the file, `name`, `dir` and `origin` among them.

    Those of the backends that its keys need are there as `vault.address` …, each if it is set anywhere.
    """

    name: str
    dir: Path
    origin: str
    epoch_key: KeyURI
    checkpoint_key: KeyURI
    values: Mapping[str, Value]
    sources: tuple[SourceTable, ...]
    verifier: VerifierConfig

    def number(self, name: str) -> int:
        """A setting that always has a value, in ms or bytes."""
        return cast("int", self.values[name].value)

    def number_or_none(self, name: str) -> int | None:
        """A setting that may be absent, in ms, in bytes, or a count."""
        return cast("int | None", self.values[name].value)

    @property
    def backend_settings(self) -> BackendSettings:
        """What the backends of both keys are handed, by family."""
        return _by_family(self.values)

    @property
    def runtime_dir(self) -> Path | None:
        """Where the ratchet outlives the process."""
        return cast("Path | None", self.values["runtime_dir"].value)

    @property
    def state_dir(self) -> StateDir:
        """Where the agent remembers its logs."""
        return cast("StateDir", self.values["state_dir"].value)

    @property
    def keep_carry(self) -> bool:
        """Whether a clean close leaves the carry there."""
        return cast("bool", self.values["keep_carry"].value)

    @property
    def compress(self) -> Compression:
        """What is done with segments that have ended."""
        return cast("Compression", self.values["compress"].value)

    @property
    def archive(self) -> ArchivePath | None:
        """Where its ended segments go."""
        return cast("ArchivePath | None", self.values["archive"].value)

    @property
    def archive_receipts(self) -> Path:
        """The folder in which the archiver says what is there; set where `archive` is."""
        return cast("Path", self.values["archive_receipts"].value)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole file for one environment; `env` is None without one, `policy` where no witness is named."""

    path: Path
    env: str | None
    logs: tuple[LogConfig, ...]
    metrics_listen: Value
    policy: Policy | None = None

    def log_in(self, logdir: Path) -> LogConfig | None:
        """The log of this directory, by its name: a link is not followed, as places are remembered."""
        wanted = os.path.abspath(logdir)  # noqa: PTH100  # resolve() follows links
        return next((log for log in self.logs if os.path.abspath(log.dir) == wanted), None)  # noqa: PTH100  # as above


def _by_family(values: Mapping[str, Value]) -> BackendSettings:
    settings: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        family, dot, name = key.partition(".")
        if dot:
            settings.setdefault(family, {})[name] = value.value
    return settings

"""A configuration as it is in force: every value with the place that set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from epochseal.config.schema import Compression
from epochseal.config.source_tables import SourceTable
from epochseal.config.state_dir import StateDir
from epochseal.format.witness_policy import Policy
from epochseal.keys import BackendSettings, KeyURI


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

    def number(self, name: str) -> int:
        """A setting that always has a value, in ms or bytes."""
        return cast("int", self.values[name].value)

    def number_or_none(self, name: str) -> int | None:
        """A setting that may be absent, in ms, in bytes, or a count."""
        return cast("int | None", self.values[name].value)

    @property
    def backend_settings(self) -> BackendSettings:
        """What the backends of both keys are handed, by family."""
        settings: dict[str, dict[str, str]] = {}
        for key, value in self.values.items():
            family, dot, name = key.partition(".")
            if dot:
                settings.setdefault(family, {})[name] = value.value
        return settings

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


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole file for one environment; `env` is None without one, `policy` where no witness is named."""

    path: Path
    env: str | None
    logs: tuple[LogConfig, ...]
    metrics_listen: Value
    policy: Policy | None = None

"""The daemon's configuration (docs/configuration.md): one file, with overlays for environments."""

from epochseal.config.merge import read_config
from epochseal.config.model import Configuration, LogConfig, Origin, Value

__all__ = ["Configuration", "LogConfig", "Origin", "Value", "read_config"]

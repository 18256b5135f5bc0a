"""The daemon's configuration (docs/configuration.md): one file, with overlays for environments.

May import the ground, format, and the defaults of sealing.
Never: a secret in a value, an unknown key that passes, or a complaint without file and line.
"""

from epochseal.config.merge import read_config
from epochseal.config.model import Configuration, LogConfig, Origin, Value

__all__ = ["Configuration", "LogConfig", "Origin", "Value", "read_config"]

"""The daemon's configuration (docs/configuration.md): one file, with overlays for environments.

May import the ground, format, and the defaults of sealing.
Never: a secret in a value, an unknown key that passes, or a complaint without file and line.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from epochseal.config.merge import read_config
    from epochseal.config.model import Configuration, LogConfig, Origin, Value

__all__ = ["Configuration", "LogConfig", "Origin", "Value", "read_config"]


if not TYPE_CHECKING:  # a type checker refuses a name that is not in the list above

    def __getattr__(name: str) -> object:
        # Most commands are given everything on the command line: what the file needs is loaded with it.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415  # see above

        return getattr(import_module(f"{__name__}.{'merge' if name == 'read_config' else 'model'}"), name)

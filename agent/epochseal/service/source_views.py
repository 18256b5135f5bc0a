"""A source at one moment, and those of its files that a person should look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from epochseal.service.guarded_source import GuardedSource
from epochseal.service.source_figures import Figures, State, state_of

MOST_SHOWN = 100
"""Files of one source that are shown: there may be thousands, all in the same trouble."""


@dataclass(frozen=True, slots=True)
class FileView:
    """A file of a source, or the source itself.

    Attributes:
        trouble: why nothing new reaches it; empty while all is well.
        lag: bytes that wait to be sealed, as far as it can know.
        gaps, skipped, last_read: see `Figures`.
    """

    trouble: str
    lag: int
    gaps: int
    skipped: int
    last_read: float

    @property
    def state(self) -> State:
        """In a word."""
        return state_of(self.trouble, self.lag)


@dataclass(frozen=True, slots=True)
class SourceView(FileView):
    """A source.

    Attributes:
        files: those that cannot be read, lag, or may have lost entries, by what they are called in the log;
            the worst `MOST_SHOWN` of them.
        left_out: how many more there are.
    """

    files: dict[str, FileView] = field(default_factory=dict)
    left_out: int = 0


def view_of(sources: Iterable[GuardedSource]) -> SourceView:
    """Sources of one name, taken together."""
    trouble, lag, total, files = "", 0, Figures(), dict[str, FileView]()
    for source in sources:
        figures = source.figures.total
        trouble = trouble or source.trouble
        # The loop may be moving a buffer's two ends: for that moment the number may be negative.
        lag += max(source.lag, 0)
        total.gaps += figures.gaps
        total.skipped += figures.skipped
        total.last_read = max(total.last_read, figures.last_read)
        files |= _files(source)
    worst = sorted(files.items(), key=lambda item: (item[1].trouble == "", -item[1].lag, -item[1].gaps))
    shown = dict(worst[:MOST_SHOWN])
    left_out = len(files) - len(shown)
    return SourceView(trouble, lag, total.gaps, total.skipped, total.last_read, shown, left_out)


def _files(source: GuardedSource) -> dict[str, FileView]:
    """Those that something is to be told of."""
    known = {name: figures for name, figures in tuple(source.figures.files.items()) if name != source.name}
    looks = {look.name: look for look in source.files}
    views = dict[str, FileView]()
    for name in {*known, *looks}:
        figures, look = known.get(name, Figures()), looks.get(name)
        trouble, lag = (look.trouble, max(look.lag, 0)) if look is not None else ("", 0)
        view = FileView(trouble, lag, figures.gaps, figures.skipped, figures.last_read)
        if view.state != "open" or view.gaps:
            views[name] = view
    return views

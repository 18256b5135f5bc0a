"""Says once when a backend goes away or refuses, when sealing stops for that, and when it is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from epochseal.errors import EpochsealError, Unavailable

Outlook = Literal["up", "down", "refused", "late"]
"""`down`: sealing goes on in the running epoch, if there is one; `refused`: the same, but waiting does not
mend it; `late`: beyond `max_overdue`, nothing is sealed."""


class BackendOutage:
    """What a sealer knows of its backends, as far as somebody is to be told.

    Attributes:
        tell: is told of every change, with the error while a backend is away.
        outlook: what was told last.
    """

    def __init__(self) -> None:
        self.tell: Callable[[Outlook, EpochsealError | None], None] = _say_nothing
        self.outlook: Outlook = "up"

    def look(self, trouble: EpochsealError | None, *, late: bool) -> None:
        """Notice how it is now.

        Args:
            trouble: why a backend was last found unavailable, or refused; None if none is.
            late: whether the epoch has run beyond what its line allows.
        """
        outlook: Outlook = "up"
        if late:
            outlook = "late"
        elif trouble is not None:
            outlook = "down" if isinstance(trouble, Unavailable) else "refused"
        if outlook != self.outlook:
            self.outlook = outlook
            self.tell(outlook, trouble)


def _say_nothing(_outlook: Outlook, _trouble: EpochsealError | None) -> None:
    pass

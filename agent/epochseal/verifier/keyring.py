"""A verifier's page, and the backends that recover epoch secrets into it."""

from __future__ import annotations

from collections.abc import Sequence

from epochseal.custody.memory import SecretPage
from epochseal.keys import Recoverer

Recoverers = Recoverer | Sequence[Recoverer]
"""One epoch key, or all those that a log went through."""


class Keyring:
    """The epoch keys that an operator named, each for the epochs that bear its own ids."""

    def __init__(self, recoverers: Recoverers) -> None:
        self._recoverers = recoverers if isinstance(recoverers, Sequence) else (recoverers,)
        self._page = SecretPage()
        view = self._page.view
        self.secret_and_carry = view[:64]
        self.secret = view[:32]
        self.carry = view[32:64]
        self.scratch = view[64:96]
        self.key = view[96:128]
        self.key_before = view[128:160]

    def recoverer_of(self, key_id: str) -> Recoverer | None:
        """The first one that opens what bears this id."""
        return next((item for item in self._recoverers if item.recognizes(key_id)), None)

    def wipe(self) -> None:
        """Forget the epoch."""
        self._page.wipe()

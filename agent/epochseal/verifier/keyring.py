"""A verifier's pages: the secrets that were recovered, and the keys that follow from one of them."""

from __future__ import annotations

from epochseal.custody.memory import SecretPage
from epochseal.verifier.epoch_secrets import EpochSecrets, Recoverers


class Keyring:
    """The secrets of the epochs at hand, and the keys of the one that is being checked."""

    def __init__(self, recoverers: Recoverers) -> None:
        self.secrets = EpochSecrets(recoverers)
        self._page = SecretPage()
        view = self._page.view
        self.secret_and_carry = view[:64]
        self.secret = view[:32]
        self.carry = view[32:64]
        self.scratch = view[64:96]
        self.key = view[96:128]
        self.key_before = view[128:160]

    def wipe(self) -> None:
        """Forget the epoch."""
        self._page.wipe()

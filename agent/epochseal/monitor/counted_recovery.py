"""How many epoch secrets an examination asks of the key backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from epochseal.errors import BackendError
from epochseal.keys import Recoverer, WrappedSecret


class CountedRecovery:
    """Makes recoverers that count in `secrets` what they are asked for."""

    def __init__(self) -> None:
        self.secrets = 0

    def over(self, make: Callable[[], Recoverer | Sequence[Recoverer]]) -> Callable[[], Sequence[Recoverer]]:
        """The same recoverers, counted."""

        def counted() -> list[Recoverer]:
            made = make()
            several = made if isinstance(made, Sequence) else (made,)
            return [_Counted(recoverer, self) for recoverer in several]

        return counted


class _Counted:
    def __init__(self, recoverer: Recoverer, count: CountedRecovery) -> None:
        self._recoverer, self._count = recoverer, count

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        self._count.secrets += len(asked)
        return self._recoverer.recover_many(asked, into)

    def recognizes(self, key_id: str) -> bool:
        return self._recoverer.recognizes(key_id)

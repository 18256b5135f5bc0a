"""What a verification is asked: the keys, what the log must be, and how old its end may be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from epochseal.format.witness_policy import Policy
from epochseal.keys import PublicKey
from epochseal.verifier.keyring import Recoverers
from epochseal.verifier.pins import Pins


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to verify with. Without `make_recoverer` only what a public key can show; durations in ms.

    `pins` bring their own checkpoint key and origin: another `checkpoint_key` beside them is untrusted.
    """

    make_recoverer: Callable[[], Recoverers] | None = None
    checkpoint_key: PublicKey | None = None
    origin: str | None = None
    pins: Pins | None = None
    max_age: int | None = None
    strict: bool = False
    policy: Policy | None = None
    jobs: int = 1
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    progress: Callable[[int, int], None] = lambda _done, _total: None

"""Readers of JSON by type, for threads that meet a type at the same time."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}
_looking = threading.Lock()


def json_decoder(kind: type[_T]) -> msgspec.json.Decoder[_T]:
    """The decoder of a type that several threads may read.

    msgspec looks into a type when it meets it first. A thread that comes to the same type meanwhile would see
    half of what was found, and the process would crash: so one thread does it, and the others wait.
    """
    if (decoder := _decoders.get(kind)) is None:
        with _looking:
            decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder

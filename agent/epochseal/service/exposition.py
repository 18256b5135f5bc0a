"""Metrics of a registry as text, in the format that a scraper asks for."""

from __future__ import annotations

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

_OPEN_METRICS = "application/openmetrics-text"


def expose(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text in the format that the Accept header asks for, and its content type."""
    # The header's own versions and parameters stay here: the library fails at what it does not expect.
    kinds = {part.partition(";")[0].strip() for part in accept.split(",")}
    encode, content_type = choose_encoder(_OPEN_METRICS if _OPEN_METRICS in kinds else "")
    return encode(registry), content_type

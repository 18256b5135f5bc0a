"""Why a server could not be reached, from what requests and urllib3 wrapped around it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import requests


def tls_reason(exc: requests.exceptions.SSLError) -> str:
    """Why TLS did not come about: what is wrong with the certificate, or what OpenSSL says."""
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
    for cause in _causes(exc):
        if isinstance(cause, ssl.SSLError) and cause.reason:
            return cause.reason.lower().replace("_", " ")
    return type(exc).__name__


def connection_reason(exc: requests.exceptions.RequestException) -> str:
    """Why there was no answer, as the system says it."""
    for cause in _causes(exc):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    return type(exc).__name__


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Every error behind `exc`, as requests and urllib3 wrap them: by cause, context and argument."""
    seen: list[BaseException] = []
    waiting = [exc]
    while waiting:
        found = waiting.pop(0)
        if found is None or found in seen:
            continue
        seen.append(found)
        yield found
        inner = [item for item in found.args if isinstance(item, BaseException)]
        reason = getattr(found, "reason", None)
        if isinstance(reason, BaseException):
            inner.append(reason)
        waiting += [*inner, found.__cause__, found.__context__]

"""Files of a Vault or OpenBao audit device: one JSON object a line, a request and its response by one id.

Where the mount lists `context` in `audit_non_hmac_request_keys`, an epoch secret's context stands there in
base64; else its HMAC does, which `sys/audit-hash` computes for who may ask (Vault documentation, "Audit
devices", "Sensitive information"). Only responses count: a request without one was not served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from epochseal.encoding import b64decode, parse_decimal
from epochseal.errors import FormatError
from epochseal.trail.events import Call, Operation, Take, TrailContext, parse_time

RESOLUTION = 0
_PATH = re.compile(
    r"(?P<mount>.+?)/(?P<what>datakey/(?:plaintext|wrapped)|decrypt|rewrap|sign)/(?P<key>[^/]+)(?:/.*)?"
)
_OPERATIONS: dict[str, Operation] = {
    "datakey/plaintext": "issue",
    "datakey/wrapped": "issue",
    "decrypt": "recover",
    "rewrap": "recover",
    "sign": "sign",
}
_CONTEXT = re.compile(r"log=([^;]+);{1,3}id=([^;]+);epoch=([^;]+);prev=([^;]+)")
# Most lines of a busy server are about something else: they are not decoded at all.
_WANTED = re.compile(rb"/(?:datakey|decrypt|rewrap|sign)/")


class _Auth(msgspec.Struct):
    display_name: str = ""
    entity_id: str = ""
    metadata: dict[str, Any] | None = None
    policies: list[str] | None = None


class _Request(msgspec.Struct):
    id: str = ""
    path: str = ""
    operation: str = ""
    data: dict[str, Any] | None = None


class _Line(msgspec.Struct):
    time: str
    type: str
    auth: _Auth | None = None
    request: _Request = msgspec.field(default_factory=_Request)
    error: str = ""


class _Moment(msgspec.Struct):
    time: str


_decoder, _moments = msgspec.json.Decoder(_Line), msgspec.json.Decoder(_Moment)


def read_vault_audit(content: bytes, take: Take, saw: Callable[[int], None]) -> None:
    """Hand on the transit calls of one file; `saw` is told the times of its first and last line.

    Raises:
        FormatError: not such a file.
    """
    lines = content.splitlines()
    if lines and not content.endswith(b"\n"):
        # The device is in the middle of a line.
        lines.pop()
    for line in (lines[0], lines[-1]) if lines else ():
        saw(parse_time(_decode(_moments, line).time))
    for line in lines:
        if _WANTED.search(line) is not None:
            for call in _calls(_decode(_decoder, line)):
                take(call)


def _decode(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:  # noqa: ANN401  # of the decoder's type
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise FormatError(f"not a line of an audit device: {exc}") from exc


def _calls(line: _Line) -> Iterator[Call]:
    match = _PATH.fullmatch(line.request.path)
    if match is None or line.type != "response" or line.request.operation != "update":
        return
    data = line.request.data or {}
    batch = data.get("batch_input")
    # Of a batch each item is a call of its own; what is no object there still counts as one.
    items = batch if isinstance(batch, list) and batch else [data]
    for number, item in enumerate(items):
        text = item.get("context") if isinstance(item, dict) else None
        text = text if isinstance(text, str) else ""
        hidden = text if text.startswith("hmac-sha256:") else ""
        yield Call(
            operation=_OPERATIONS[match["what"]],
            time=parse_time(line.time),
            who=_who(line.auth or _Auth()),
            key=f"{match['mount']}/{match['key']}",
            id=line.request.id if len(items) == 1 else f"{line.request.id} item {number}",
            context=None if hidden else _context(text),
            hidden=hidden,
            refused=line.error.strip().replace("\n", " "),
        )


def _who(auth: _Auth) -> str:
    role = (auth.metadata or {}).get("role_name")
    return str(role or auth.display_name or auth.entity_id or "unknown")


def _context(text: str) -> TrailContext | None:
    """The context that `Context.encode` made; None for any other."""
    try:
        plain = b64decode(text, "context").decode("utf-8")
        match = _CONTEXT.fullmatch(plain)
        if match is None:
            return None
        return TrailContext(match[1], match[2], parse_decimal(match[3], "epoch"), match[4])
    except (FormatError, UnicodeDecodeError):
        return None

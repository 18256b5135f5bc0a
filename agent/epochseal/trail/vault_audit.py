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

from epochseal.encoding import UNREADABLE, b64decode, parse_decimal
from epochseal.errors import FormatError
from epochseal.trail.events import NOTHING, AddCall, Call, Operation, Shown, TrailContext, parse_time

RESOLUTION = 0
_KEY = r"(?P<key>[^/]+)"
_FORMS: tuple[tuple[Operation, str, str], ...] = (
    ("issue", "update create", rf"datakey/(?:plaintext|wrapped)/{_KEY}"),
    ("recover", "update create", rf"(?:decrypt|rewrap)/{_KEY}"),
    ("sign", "update create", rf"sign/{_KEY}(?:/.*)?"),
    ("wrap", "update create", rf"encrypt/{_KEY}"),
    ("export", "read", rf"(?:export/(?!public-key/)[^/]+|backup|byok-export/[^/]+)/{_KEY}(?:/.*)?"),
    ("change", "update create delete", rf"(?:keys|restore)/{_KEY}(?:/.*)?"),
)
_PATHS = [
    (operation, verbs.split(), re.compile(rf"(?P<mount>.+?)/(?P<what>{path})"))
    for operation, verbs, path in _FORMS
]
_DEVICE = re.compile(r"sys/audit/.+")
_CONTEXT = re.compile(r"log=([^;]+);{1,3}id=([^;]+);epoch=([^;]+);prev=([^;]+)")
# Most lines of a busy server are about something else: they are not decoded at all.
_WANTED = re.compile(
    rb'/(?:datakey|decrypt|rewrap|sign|encrypt|export|backup|byok-export|keys|restore)/|"sys/audit/'
)


class _Auth(msgspec.Struct):
    display_name: str = ""
    entity_id: str = ""
    metadata: dict[str, Any] | None = None
    policies: list[str] | None = None


class _Request(msgspec.Struct):
    id: str = ""
    path: str = ""
    operation: str = ""
    mount_type: str = "transit"
    data: dict[str, Any] | None = None


class _Response(msgspec.Struct):
    data: dict[str, Any] | None = None


class _Line(msgspec.Struct):
    time: str
    type: str
    auth: _Auth | None = None
    request: _Request = msgspec.field(default_factory=_Request)
    response: _Response = msgspec.field(default_factory=_Response)
    error: str = ""


class _Moment(msgspec.Struct):
    time: str


_decoder, _moments = msgspec.json.Decoder(_Line), msgspec.json.Decoder(_Moment)


def read_vault_audit(content: bytes, add_call: AddCall, saw: Callable[[int], None]) -> int:
    """Hand on the transit calls of one file; `saw` is told the times of its first and last readable line.

    Returns:
        How many lines are damaged, as those are that a crash of the server cut.

    Raises:
        FormatError: not such a file.
    """
    lines = content.splitlines()
    if lines and not content.endswith(b"\n"):
        # The last line has no end yet: the audit device is writing it.
        lines.pop()
    if not lines:
        return 0
    saw(parse_time(_decode(_moments, lines[0]).time))
    broken = 0
    for number, line in enumerate(lines, 1):
        wanted = _WANTED.search(line) is not None
        if not wanted and number < len(lines):
            continue
        try:
            found = _decode(_decoder, line)
            saw(parse_time(found.time))
        except FormatError:
            broken += 1
            continue
        for call in _calls(found):
            add_call(call)
    return broken


def _decode(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:  # noqa: ANN401  # of the decoder's type
    try:
        return decoder.decode(line)
    except UNREADABLE as exc:
        raise FormatError(f"not a line of an audit device: {exc}") from exc


def _calls(line: _Line) -> Iterator[Call]:
    if line.type != "response":
        return
    if _DEVICE.fullmatch(line.request.path) and line.request.operation in {"update", "delete"}:
        yield _recording(line)
    # Other engines, such as a key-value store, may have paths that look the same: no key is used there.
    if line.request.mount_type != "transit":
        return
    for operation, verbs, path in _PATHS:
        match = path.fullmatch(line.request.path)
        if match is not None and line.request.operation in verbs:
            yield from _calls_of(line, operation, match)
            return


def _recording(line: _Line) -> Call:
    what = "switched on" if line.request.operation == "update" else "switched off"
    who, refused = _who(line.auth or _Auth()), _refused(line, None)
    at, device = parse_time(line.time), line.request.path
    return Call("record", at, who, device, line.request.id, refused=refused, detail=what)


def _calls_of(line: _Line, operation: Operation, match: re.Match[str]) -> Iterator[Call]:
    data, answer = line.request.data or {}, line.response.data or {}
    # A batch holds several calls. An item that is no JSON object was a call too, and is counted as one.
    items, answers = _list(data.get("batch_input")) or [data], _list(answer.get("batch_results")) or [answer]
    for number, item in enumerate(items):
        given = answers[number] if number < len(answers) else {}
        context = _shown(item, "context")
        yield Call(
            operation=operation,
            at=parse_time(line.time),
            who=_who(line.auth or _Auth()),
            key=f"{match['mount']}/{match['key']}",
            id=line.request.id if len(items) == 1 else f"{line.request.id} item {number}",
            context=_context(context.plain),
            hidden=context.hashes,
            wrapped=_shown(given, "ciphertext") if operation == "issue" else NOTHING,
            message=_shown(item, "input") if operation == "sign" else NOTHING,
            refused=_refused(line, given),
            detail=f"{line.request.operation} {match['what']}" if operation in {"change", "export"} else "",
        )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _shown(item: object, name: str) -> Shown:
    text = item.get(name) if isinstance(item, dict) else None
    if not isinstance(text, str):
        return NOTHING
    return Shown(hashes=frozenset({text})) if text.startswith("hmac-sha256:") else Shown(text)


def _refused(line: _Line, answer: object) -> str:
    """Why it was not served: the server says so beside the answer, the engine in the place of one."""
    if line.error:
        return line.error.strip().replace("\n", " ")
    refused = isinstance(answer, dict) and answer.get("error")
    return "the engine did not do it" if refused else ""


def _who(auth: _Auth) -> str:
    metadata = auth.metadata or {}
    return str(metadata.get("role_name") or auth.display_name or auth.entity_id or "unknown")


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

"""Files of a Vault or OpenBao audit device: one JSON object a line, a request and its response by one id.

Where the mount lists `context` in `audit_non_hmac_request_keys`, an epoch secret's context stands there in
base64; else its HMAC does, which `sys/audit-hash` computes for who may ask (Vault documentation, "Audit
devices", "Sensitive information"). Only responses count: a request without one was not served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
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
_LONGEST = 16 << 20
"""A longer line is none of an audit device."""
_SHORTEST_ITEM = 32
"""So many bytes of its line an item of a batch takes at least, with its answer."""


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


def read_vault_audit(pieces: Iterable[bytes], add_call: AddCall, saw: Callable[[int], None]) -> int:
    """Hand on the transit calls of one file; `saw` is told the times of its first and last readable line.

    The file comes in pieces, which end anywhere.

    Returns:
        How many lines are damaged, as those are that a crash of the server cut.

    Raises:
        FormatError: not such a file.
    """
    reader = _Reader(add_call, saw)
    for text in _whole_lines(pieces):
        reader.take(text)
    return reader.finish()


class _Reader:
    def __init__(self, add_call: AddCall, saw: Callable[[int], None]) -> None:
        self._add_call, self._saw = add_call, saw
        self._broken = 0
        self._last: bytes | None = None

    def take(self, text: bytes) -> None:
        """Whole lines; the last one of all waits, since it is read whatever it is about."""
        if self._last is None:
            self._saw(parse_time(_decode(_moments, text[: text.index(b"\n")]).time))
        elif _WANTED.search(self._last):
            self._read(self._last)
        start = text.rfind(b"\n", 0, len(text) - 1) + 1
        self._last = text[start:-1]
        position = 0
        while (match := _WANTED.search(text, position, start)) is not None:
            begin, position = text.rfind(b"\n", 0, match.start()) + 1, text.index(b"\n", match.end()) + 1
            self._read(text[begin : position - 1])

    def finish(self) -> int:
        """After the last line: how many were damaged."""
        if self._last is not None:
            self._read(self._last)
        return self._broken

    def _read(self, raw: bytes) -> None:
        try:
            line = _decode(_decoder, raw)
            at = parse_time(line.time)
        except FormatError:
            self._broken += 1
            return
        if _items_of(line) * _SHORTEST_ITEM > len(raw):
            # More calls than its bytes have room for: no server wrote that.
            self._broken += 1
            return
        self._saw(at)
        for call in _calls(line, at):
            self._add_call(call)


def _whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Some whole lines at a time, with their LF; what has no end yet is being written, and is left out."""
    rest: list[bytes] = []
    kept = 0
    for piece in pieces:
        stop = piece.rfind(b"\n") + 1
        if not stop:
            # Of a line that is too long an end is kept that is too long as well.
            rest, kept = ([*rest, piece], kept + len(piece)) if kept <= _LONGEST else (rest, kept)
            continue
        yield b"".join((*rest, piece[:stop]))
        rest, kept = [piece[stop:]], len(piece) - stop


def _decode(decoder: msgspec.json.Decoder[Any], line: bytes) -> Any:  # noqa: ANN401  # of the decoder's type
    try:
        return decoder.decode(line)
    except UNREADABLE as exc:
        raise FormatError(f"not a line of an audit device: {exc}") from exc


def _items_of(line: _Line) -> int:
    return len(_list((line.request.data or {}).get("batch_input")))


def _calls(line: _Line, at: int) -> Iterator[Call]:
    if line.type != "response":
        return
    if _DEVICE.fullmatch(line.request.path) and line.request.operation in {"update", "delete"}:
        yield _recording(line, at)
    # Other engines, such as a key-value store, may have paths that look the same: no key is used there.
    if line.request.mount_type != "transit":
        return
    for operation, verbs, path in _PATHS:
        match = path.fullmatch(line.request.path)
        if match is not None and line.request.operation in verbs:
            yield from _calls_of(line, at, operation, match)
            return


def _recording(line: _Line, at: int) -> Call:
    what = "switched on" if line.request.operation == "update" else "switched off"
    who, refused = _who(line.auth or _Auth()), _refused(line, None)
    return Call("record", at, who, line.request.path, line.request.id, refused=refused, detail=what)


def _calls_of(line: _Line, at: int, operation: Operation, match: re.Match[str]) -> Iterator[Call]:
    data, answer = line.request.data or {}, line.response.data or {}
    # A batch holds several calls. An item that is no JSON object was a call too, and is counted as one.
    items, answers = _list(data.get("batch_input")) or [data], _list(answer.get("batch_results")) or [answer]
    who, key = _who(line.auth or _Auth()), f"{match['mount']}/{match['key']}"
    for number, item in enumerate(items):
        given = answers[number] if number < len(answers) else {}
        context = _shown(item, "context")
        yield Call(
            operation=operation,
            at=at,
            who=who,
            key=key,
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

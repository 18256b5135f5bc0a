r"""Small whole logs, whose files are edited: verified, shown, and what an agent's start makes of them.

An input is a choice of log and a list of edits, as text: a line `EDIT FILE PLACE DATA`. FILE and PLACE are
numbers, taken modulo what there is; DATA may have anything but a newline, and `\n` for one.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from epochseal.errors import EpochsealError
from epochseal.evidence.overview import read_overview
from epochseal.format.note import parse_vkey
from epochseal.keys import Recoverer, load_backend, parse_key_uri
from epochseal.storage.chain_end import read_chain_end
from epochseal.storage.segments import list_segments
from epochseal.verifier import Request, verify
from tests.fuzz.scratch import scratch
from tests.reference.keys import Keys
from tests.reference.maker import Maker
from tests.reference.scenarios import entries

WORDS = (
    *(
        b"cut ",
        b"put ",
        b"over ",
        b"copy ",
        b"move ",
        b"drop ",
        b"line ",
        b"again ",
        b"add ",
        b"block ",
        b"epoch ",
    ),
    *(
        b"sign ",
        b"note ",
        b"end ",
        b"prune ",
        b'"link":"cold"',
        b"\\n",
        b"000003-20260101T000000Z.log",
        b"checkpoint",
    ),
    *(
        b"segments/000001-99999999T999999Z.seal",
        b"segments/000002-20260101T000000Z.log.gz",
        b".unsealed",
        b".torn",
    ),
)
_EDIT = re.compile(rb"([a-z]+) ([0-9]{1,4}) ([0-9]{1,6}) ?(.*)", re.DOTALL)
_NOW = 1_767_225_600_000 + 3_600_000
_Files = dict[str, bytes]
_Edit = Callable[[_Files, str, int, bytes], None]


def whole_log(data: bytes) -> None:
    """Verified with all keys and with the public one: whatever was sealed and has changed is found."""
    path, files, sealed = _edited(data)
    for mode in ("keys", "public"):
        verdict = verify(path, _request(keys=mode == "keys"))
        assert verdict.exit_status in {0, 1, 3, 4, 5}
        if verdict.verdict == "verified" and mode == "keys":
            # Files of other names are none of the log's.
            found = {file.name for segment in list_segments(path).segments for file in segment.files()}
            assert found == {name.rpartition("/")[2] for name in sealed if name != "checkpoint"}, (
                "a file more or less"
            )
            assert _plain(files).items() >= _plain(sealed).items(), "something sealed has changed"


def shown_log(data: bytes) -> None:
    """Shown without any key, and read by an agent that starts: damage is told of, or passed over."""
    path, _, _ = _edited(data)
    with suppress(EpochsealError):
        read_overview(path)
    with suppress(EpochsealError):
        read_chain_end(list_segments(path).segments)


def _plain(files: _Files) -> _Files:
    plain = {name: data for name, data in files.items() if name.endswith((".log", ".seal"))}
    return plain | {name: gzip.decompress(data) for name, data in files.items() if name.endswith(".gz")}


def _edited(data: bytes) -> tuple[Path, _Files, _Files]:
    first, *edits = data.split(b"\n")[:8]
    logs = _logs()
    sealed = logs[
        int(first[:3] or b"0", 16) % len(logs) if first[:3].isalnum() and first[:3].isdigit() else 0
    ]
    files = dict(sealed)
    for line in edits:
        if (match := _EDIT.fullmatch(line)) is not None and (
            edit := _EDITS.get(match[1].decode())
        ) is not None:
            name = sorted(files)[int(match[2]) % len(files)] if files else "checkpoint"
            edit(files, name, int(match[3]), match[4].replace(b"\\n", b"\n"))
    return _written(files), files, sealed


_on_disk: _Files = {}


def _written(files: _Files) -> Path:
    path = scratch("whole_log")
    for name in _on_disk.keys() - files.keys():
        (path / name).unlink()
        del _on_disk[name]
    for name, content in files.items():
        if _on_disk.get(name) != content:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(content)
            # Old to the file system, so that the verifier does not wait for an agent that is not there.
            os.utime(path / name, (0, 0))
            _on_disk[name] = content
    return path


@cache
def _keys() -> Keys:
    return Keys(scratch("keys") / "keys").write()


@cache
def _logs() -> list[_Files]:
    made = []
    for name in ("one", "two", "three"):
        log = Maker(scratch("made") / name, _keys())
        entries(log.begin("genesis")).turn()
        entries(log, 40)
        for number in range(24 if name == "two" else 2):
            log.block(b"entry %d\n" % number)
        log.turn("segment")
        entries(log).close()
        if name == "three":
            entries(log.begin("carry")).turn()
            entries(log).close()
        made.append(
            {
                str(path.relative_to(log.path)): path.read_bytes()
                for path in log.path.rglob("*")
                if path.is_file()
            }
        )
    packed = dict(made[0])
    plain = min(name for name in packed if name.endswith(".log"))
    packed[plain + ".gz"] = gzip.compress(packed.pop(plain), mtime=0)
    return [*made, packed]


@cache
def _request(*, keys: bool) -> Request:
    return Request(
        make_recoverer=_recoverer if keys else None,
        checkpoint_key=parse_vkey(_keys().vkey()).key,
        now=lambda: _NOW,
    )


def _recoverer() -> Recoverer:
    uri = parse_key_uri(f"file:{_keys().directory / 'verifier'}")
    return load_backend(uri).recoverer(uri, {})


# --- edits ----------------------------------------------------------------------------------------------


def _at(content: bytes, place: int) -> int:
    return place % (len(content) + 1)


def _line_at(content: bytes, place: int) -> tuple[list[bytes], int]:
    lines = content.splitlines(keepends=True) or [b""]
    return lines, place % len(lines)


def _cut(files: _Files, name: str, place: int, _data: bytes) -> None:
    files[name] = files[name][: _at(files[name], place)]


def _put(files: _Files, name: str, place: int, data: bytes) -> None:
    at = _at(files[name], place)
    files[name] = files[name][:at] + data + files[name][at:]


def _over(files: _Files, name: str, place: int, data: bytes) -> None:
    at = _at(files[name], place)
    files[name] = files[name][:at] + data + files[name][at + len(data) :]


def _drop(files: _Files, name: str, place: int, _data: bytes) -> None:
    lines, at = _line_at(files[name], place)
    del lines[at]
    files[name] = b"".join(lines)


def _again(files: _Files, name: str, place: int, data: bytes) -> None:
    lines, at = _line_at(files[name], place)
    lines[at:at] = [lines[at]] * (1 + len(data))
    files[name] = b"".join(lines)


def _line(files: _Files, name: str, place: int, data: bytes) -> None:
    lines, at = _line_at(files[name], place)
    lines[at] = data + b"\n"
    files[name] = b"".join(lines)


def _swap(files: _Files, name: str, place: int, data: bytes) -> None:
    lines, at = _line_at(files[name], place)
    other = len(data) % len(lines)
    lines[at], lines[other] = lines[other], lines[at]
    files[name] = b"".join(lines)


def _move(files: _Files, name: str, _place: int, data: bytes) -> None:
    if _is_name(target := data.decode("utf-8", "surrogateescape")):
        files[target] = files.pop(name)


def _copy(files: _Files, name: str, _place: int, data: bytes) -> None:
    if _is_name(target := data.decode("utf-8", "surrogateescape")):
        files[target] = files[name]


def _remove(files: _Files, name: str, _place: int, _data: bytes) -> None:
    del files[name]


def _is_name(name: str) -> bool:
    """Of the log's folder or of its `segments`, and of no other place."""
    last = name.removeprefix("segments/")
    return (
        last not in {"", ".", "..", "segments"}
        and not {"\0", "/"} & set(last)
        and len(last.encode("utf-8", "surrogateescape")) < 99
    )


_EDITS: dict[str, _Edit] = {
    edit.__name__[1:]: edit
    for edit in (_cut, _put, _over, _drop, _again, _line, _swap, _move, _copy, _remove)
}

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.encoding import MAX_INT, b64encode
from epochseal.errors import FormatError
from epochseal.format.seal_lines import (
    MAX_LINE,
    Abandoned,
    Asked,
    Block,
    Denies,
    End,
    Header,
    Next,
    NoteLine,
    Prune,
    Sign,
    SourceMark,
    TaggedLine,
    Tree,
    encode_block,
    encode_body,
    encode_line,
    encode_note_line,
    id_of_log,
    log_id,
    parse_line,
)

TAG = bytes(range(32))
TAG_TEXT = base64.b64encode(TAG)
DIGEST = base64.b64encode(bytes(range(1, 33)))
HEADER = Header(
    epoch=7,
    origin="example.com/ä",
    log=b64encode(bytes(32)),
    segment=1,
    link="carry",
    key="file:0123",
    wrapped=b64encode(b"wrapped"),
    carry=b64encode(bytes(48)),
    asked=Asked(41, b64encode(TAG)),
    prev=b64encode(TAG),
    tree=Tree(3, [b64encode(bytes(32)), b64encode(TAG)]),
    first_entry=20,
    heartbeat=10_000,
    interval=300_000,
    max_overdue=3_600_000,
    retention=0,
    abandoned=[Abandoned(40, b64encode(TAG), 2)],
    time=1_700_000_000_000,
)
END = encode_body(9, End("interval", 5, 6))

numbers = st.integers(0, MAX_INT)
hashes = st.binary(min_size=32, max_size=32)
counts = st.integers(1, MAX_INT)
sources = st.builds(
    SourceMark, name=st.text(), offset=numbers, file=st.text(), esc=st.integers(0, 1), nolf=st.integers(0, 1)
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Any block whose numbers fit each other."""
    entries = draw(numbers)
    size = draw(st.integers(entries, MAX_INT)) if entries else 0
    digest = draw(hashes) if entries else hashlib.sha256().digest()
    return Block(draw(numbers), entries, draw(numbers), size, draw(numbers), digest, draw(sources))


bodies = st.one_of(
    st.builds(End, reason=st.sampled_from(["interval", "segment"]), entries=numbers, bytes=numbers),
    st.builds(End, reason=st.just("close"), entries=numbers, bytes=numbers, run=st.just(0)),
    st.builds(
        Sign, run=st.just(0), next=st.none() | st.builds(Next, epoch=numbers, wrapped=hashes.map(b64encode))
    ),
    st.builds(
        lambda log, size, root: msgspec.structs.replace(
            HEADER, link="cold", carry="", denies=Denies(b64encode(log), size, b64encode(root))
        ),
        hashes,
        counts,
        hashes,
    ),
    st.builds(
        Prune,
        segment=numbers,
        epoch=numbers,
        tree_size=numbers,
        root=hashes.map(b64encode),
        entries=numbers,
        bytes=numbers,
        policy=st.text(),
    ),
    st.builds(
        lambda time, calls: msgspec.structs.replace(HEADER, time=time, abandoned=calls),
        numbers,
        st.lists(st.builds(Abandoned, line=numbers, tag=hashes.map(b64encode), calls=counts), max_size=3),
    ),
)


@given(numbers, blocks(), hashes)
def test_a_block_line_comes_back(index: int, block: Block, tag: bytes) -> None:
    """What was encoded as a block line is read as the same values, payload and tag."""
    payload = encode_block(index, block)
    line = encode_line(payload, tag)
    assert line.count(b"\n") == 1
    assert parse_line(line[:-1]) == TaggedLine(index, block, payload, tag)


@given(counts, bodies, hashes)
def test_a_json_line_comes_back(index: int, body: Header | Prune | Sign | End, tag: bytes) -> None:
    """What was encoded as an epoch, prune, sign or end line is read as the same values, payload and tag."""
    payload = encode_body(index, body)
    line = encode_line(payload, tag)
    assert line.count(b"\n") == 1
    assert parse_line(line[:-1]) == TaggedLine(index, body, payload, tag)


@given(st.binary(max_size=300))
def test_a_note_line_comes_back(note: bytes) -> None:
    """A note of any bytes is read back as it was."""
    assert parse_line(encode_note_line(note)[:-1]) == NoteLine(note)


@given(st.binary(max_size=200))
def test_anything_that_is_read_has_one_spelling(raw: bytes) -> None:
    """Random bytes are refused as a format error, and never as anything else."""
    with pytest.raises(FormatError):
        parse_line(b"block " + raw)


def test_the_form_is_that_of_the_specification() -> None:
    """A block and an end line look exactly as the format says, written here by hand."""
    src = SourceMark("stdin", 12, nolf=1)
    block = encode_line(encode_block(5, Block(3, 2, 7, 11, 1234, bytes(range(1, 33)), src)), TAG)
    assert block == (
        b"block 5 3 2 7 11 1234 "
        + DIGEST
        + b' {"src":{"name":"stdin","offset":12,"nolf":1}} '
        + TAG_TEXT
        + b"\n"
    )
    assert END == b'end 9 {"reason":"interval","entries":5,"bytes":6}'


def _block(numbers_text: bytes = b"5 3 2 7 11 12", digest: bytes = DIGEST, body: bytes = b"") -> bytes:
    body = body or b'{"src":{"name":"stdin","offset":12}}'
    return b"block " + numbers_text + b" " + digest + b" " + body + b" " + TAG_TEXT


BAD_NUMBERS = [
    b"05",
    b"+5",
    b"-5",
    b"-0",
    b"00",
    b"5.0",
    b"5e0",
    b"0x5",
    b"",
    b" 5",
    b"5 ",
    b"5_0",
    b"NaN",
    str(2**63).encode(),
    str(2**64).encode(),
    b"9" * 25,
    "\u0665".encode(),
]


@pytest.mark.parametrize("text", BAD_NUMBERS)
@pytest.mark.parametrize("place", range(6))
def test_a_number_of_a_block_has_one_spelling(text: bytes, place: int) -> None:
    """A number of a block line that is signed, padded, fractional, too large or not a number is refused."""
    assert isinstance(parse_line(_block()), TaggedLine)
    fields = b"5 3 2 7 11 12".split()
    fields[place] = text
    with pytest.raises(FormatError):
        parse_line(_block(b" ".join(fields)))


JSON_SPELLINGS = {
    "unknown key": b'{"reason":"interval","entries":5,"bytes":6,"more":1}',
    "doubled key": b'{"reason":"interval","entries":5,"entries":5,"bytes":6}',
    "doubled key, other value": b'{"reason":"interval","entries":4,"entries":5,"bytes":6}',
    "missing key": b'{"reason":"interval","entries":5}',
    "reordered": b'{"entries":5,"reason":"interval","bytes":6}',
    "blank": b'{"reason":"interval", "entries":5,"bytes":6}',
    "blank inside": b'{ "reason":"interval","entries":5,"bytes":6}',
    "escaped printable": b'{"reason":"\\u0069nterval","entries":5,"bytes":6}',
    "escaped key": b'{"r\\u0065ason":"interval","entries":5,"bytes":6}',
    "escaped slash": b'{"reason":"interval\\/","entries":5,"bytes":6}',
    "unknown value": b'{"reason":"whim","entries":5,"bytes":6}',
    "float": b'{"reason":"interval","entries":5.0,"bytes":6}',
    "exponent": b'{"reason":"interval","entries":5e0,"bytes":6}',
    "minus zero": b'{"reason":"interval","entries":-0,"bytes":6}',
    "negative": b'{"reason":"interval","entries":-5,"bytes":6}',
    "plus": b'{"reason":"interval","entries":+5,"bytes":6}',
    "leading zero": b'{"reason":"interval","entries":05,"bytes":6}',
    "2**63": b'{"reason":"interval","entries":9223372036854775808,"bytes":6}',
    "NaN": b'{"reason":"interval","entries":NaN,"bytes":6}',
    "Infinity": b'{"reason":"interval","entries":Infinity,"bytes":6}',
    "string for number": b'{"reason":"interval","entries":"5","bytes":6}',
    "bool for number": b'{"reason":"interval","entries":true,"bytes":6}',
    "null": b'{"reason":"interval","entries":null,"bytes":6}',
    "array": b'["interval",5,6]',
    "trailing": b'{"reason":"interval","entries":5,"bytes":6}x',
    "trailing comma": b'{"reason":"interval","entries":5,"bytes":6,}',
    "two objects": b'{"reason":"interval","entries":5,"bytes":6}{}',
    "not UTF-8": b'{"reason":"interval\xff","entries":5,"bytes":6}',
    "raw NUL": b'{"reason":"interval\x00","entries":5,"bytes":6}',
    "comment": b'{"reason":"interval"/**/,"entries":5,"bytes":6}',
}


@pytest.mark.parametrize("name", JSON_SPELLINGS)
def test_json_has_one_spelling(name: str) -> None:
    """Any other spelling of an end line's JSON is refused, also one of the same value."""
    with pytest.raises(FormatError):
        parse_line(b"end 9 " + JSON_SPELLINGS[name] + b" " + TAG_TEXT)


@pytest.mark.parametrize(
    "body",
    [
        b'{"src":{"name":"stdin","offset":12,"esc":0}}',
        b'{"src":{"name":"stdin","offset":12,"file":""}}',
        b'{"src":{"name":"stdin","offset":12,"nolf":2}}',
        b'{"src":{"name":"stdin","offset":12,"skipped":5}}',
        b'{"src":{"name":"stdin","offset":12,"gap":1,"skipped":0}}',
        b'{"src":{"name":"stdin","offset":12,"gap":1,"skipped":9223372036854775808}}',
        b'{"src":{"name":"stdin","offset":12,"skipped":5,"gap":1}}',
        b'{"src":{"name":"stdin","offset":12,"recovered":1,"nolf":1}}',
        b'{"src":{"name":"\\u0073tdin","offset":12}}',
        b'{"src":{"offset":12,"name":"stdin"}}',
        b'{"src":null}',
        b"{}",
    ],
)
def test_a_source_has_one_spelling(body: bytes) -> None:
    """A block with entries names a source, without written defaults, in order, with flags of 1."""
    with pytest.raises(FormatError):
        parse_line(_block(body=body))


@pytest.mark.parametrize(
    "text",
    [
        b'end 9 {"reason":"close","entries":5,"bytes":6}',
        b'end 9 {"reason":"close","entries":5,"bytes":6,"run":9}',
        b'end 9 {"reason":"interval","entries":5,"bytes":6,"run":0}',
        b'end 9 {"reason":"close","run":0,"entries":5,"bytes":6}',
        b'sign 9 {"run":9}',
        b'sign 0 {"run":0}',
        b"sign 9 {}",
        b'sign 9 {"run":0,"next":null}',
        b'sign 9 {"run":0,"next":{"epoch":1}}',
        b'sign 9 {"run":0,"next":{"epoch":1,"wrapped":""}}',
        b'sign 9 {"run":0,"next":{"wrapped":"' + b"A" * 43 + b'=","epoch":1}}',
        b'sign 9 {"next":{"epoch":1,"wrapped":"' + b"A" * 43 + b'="},"run":0}',
    ],
)
def test_a_line_that_is_signed_says_where_its_run_began(text: bytes) -> None:
    """Below itself, and of an `end` only one that closes; what it announces is whole."""
    for good in (
        b'end 9 {"reason":"close","entries":5,"bytes":6,"run":8}',
        b'sign 9 {"run":8}',
        b'sign 9 {"run":0,"next":{"epoch":1,"wrapped":"' + b"A" * 43 + b'="}}',
    ):
        assert isinstance(parse_line(good + b" " + TAG_TEXT), TaggedLine)
    with pytest.raises(FormatError):
        parse_line(text + b" " + TAG_TEXT)


def test_the_id_commits_to_the_first_line() -> None:
    """The first line makes it; every other epoch line states it."""
    leaf = hashlib.sha256(b"\x00" + b"payload").digest()
    expected = hashlib.sha256(b"epochseal/v1/log" + leaf).digest()
    assert log_id(leaf) == expected
    assert id_of_log(b"payload", msgspec.structs.replace(HEADER, epoch=0)) == expected
    assert id_of_log(b"payload", HEADER) == bytes(32)


@pytest.mark.parametrize("numbers_text", [b"5 3 3 7 2 12", b"5 3 0 7 1 12", b"5 3 1 7 0 12"])
def test_a_block_counts_what_can_be(numbers_text: bytes) -> None:
    """A block of more entries than bytes, or of only one of both, is refused."""
    with pytest.raises(FormatError, match="entries in"):
        parse_line(_block(numbers_text))


TAGS = {
    "missing": b"",
    "missing, with its space": b" ",
    "31 bytes": b" " + base64.b64encode(bytes(31)),
    "33 bytes": b" " + base64.b64encode(bytes(33)),
    "no padding": b" " + TAG_TEXT[:-1],
    "set padding bits": b" " + TAG_TEXT[:-2] + b"9=",
    "two spaces": b"  " + TAG_TEXT,
    "tab": b"\t" + TAG_TEXT,
    "trailing space": b" " + TAG_TEXT + b" ",
    "trailing CR": b" " + TAG_TEXT + b"\r",
    "trailing LF": b" " + TAG_TEXT + b"\n",
    "trailing bytes": b" " + TAG_TEXT + b"AAAA",
    "url alphabet": b" " + base64.urlsafe_b64encode(b"\xff" * 32),
    "not ASCII": b" " + "ä".encode() + TAG_TEXT,
}


@pytest.mark.parametrize("name", TAGS)
@pytest.mark.parametrize("payload", [END, _block().rpartition(b" ")[0]], ids=["end", "block"])
def test_a_tag_has_one_spelling(payload: bytes, name: str) -> None:
    """A line whose tag is missing, of another size or in another spelling is refused."""
    with pytest.raises(FormatError):
        parse_line(payload + TAGS[name])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"note",
        b"note  AAAA",
        b"note AAA",
        b"note AAB=",
        b"note AAAA ",
        b"note AAAA\r",
        b"Note AAAA",
        b"end " + END[4:],
        b"End" + END[3:] + b" " + TAG_TEXT,
        b" " + END + b" " + TAG_TEXT,
        b"close" + END[3:] + b" " + TAG_TEXT,
        b"prune" + END[3:] + b" " + TAG_TEXT,
        b"epoch" + END[3:] + b" " + TAG_TEXT,
        END.replace(b"end 9", b"end 09") + b" " + TAG_TEXT,
        END.replace(b"end 9", b"end  9") + b" " + TAG_TEXT,
        END.replace(b"end 9", b"end 9223372036854775808") + b" " + TAG_TEXT,
        _block(digest=DIGEST[:-2] + b"B="),
        _block(digest=DIGEST[:-1]),
        b"note " + b"A" * MAX_LINE,
    ],
)
def test_other_lines_are_refused(raw: bytes) -> None:
    """A line of no known kind, in another case or spacing, or too long is refused."""
    with pytest.raises(FormatError):
        parse_line(raw)


def _changed(**fields: Any) -> bytes:  # noqa: ANN401  # any JSON
    value = json.loads(encode_body(0, HEADER).split(b" ", 2)[2])
    for name, content in fields.items():
        value[name] = content
    raw = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return b"epoch 3 " + raw + b" " + TAG_TEXT


HASH = b64encode(bytes(32))
BAD_HEADERS: dict[str, dict[str, Any]] = {
    "a log id of 31 bytes": {"log": b64encode(bytes(31))},
    "a log id with set padding bits": {"log": HASH[:-2] + "B="},
    "no carry on a carry link": {"carry": ""},
    "a carry on a cold link": {"link": "cold"},
    "genesis later": {"link": "genesis", "carry": ""},
    "the first epoch by carry": {"epoch": 0},
    "an unknown link": {"link": "bridge"},
    "segment 0": {"segment": 0},
    "an asked tag of 31 bytes": {"asked": {"line": 1, "tag": b64encode(bytes(31))}},
    "asked, reordered": {"asked": {"tag": HASH, "line": 1}},
    "a previous tag of 33 bytes": {"prev": b64encode(bytes(33))},
    "an abandoned tag of 0 bytes": {"abandoned": [{"line": 1, "tag": "", "calls": 1}]},
    "a frontier of another size": {"tree": {"size": 4, "frontier": [HASH, HASH]}},
    "a subtree of 31 bytes": {"tree": {"size": 1, "frontier": [b64encode(bytes(31))]}},
    "an origin with a space": {"origin": "a b"},
    "an origin with a semicolon": {"origin": "a;b"},
    "no origin": {"origin": ""},
    "a key id with a quotation mark": {"key": 'a"b'},
    "nothing wrapped": {"wrapped": ""},
    "too much wrapped": {"wrapped": b64encode(bytes(4097))},
    "a time of 2**63": {"time": 2**63},
    "a negative time": {"time": -1},
    "a call that was given up no time": {"abandoned": [{"line": 1, "tag": HASH, "calls": 0}]},
    "65 calls that were given up": {"abandoned": [{"line": 1, "tag": HASH, "calls": 1}] * 65},
    "the link of another format": {"link": "reopen", "carry": ""},
    "another log, denied with a carry": {"denies": {"log": HASH, "size": 1, "root": HASH}},
    "another log, denied without a line": {
        "link": "cold",
        "carry": "",
        "denies": {"log": HASH, "size": 0, "root": HASH},
    },
    "another log, denied without a root": {"link": "cold", "carry": "", "denies": {"log": HASH, "size": 1}},
    "another log, its id of 31 bytes": {
        "link": "cold",
        "carry": "",
        "denies": {"log": b64encode(bytes(31)), "size": 1, "root": HASH},
    },
    "nothing denied, spelled out": {"link": "cold", "carry": "", "denies": None},
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_headers_that_contradict_themselves_are_refused(name: str) -> None:
    """An epoch line with a field of another size, or with fields that do not fit each other, is refused."""
    assert parse_line(_changed()) == TaggedLine(3, HEADER, encode_body(3, HEADER), TAG)
    with pytest.raises(FormatError):
        parse_line(_changed(**BAD_HEADERS[name]))


def test_the_first_epoch_begins_at_zero() -> None:
    """Epoch 0 is genesis: no tree, no entry, no line and no tag before it."""
    genesis = {
        "epoch": 0,
        "link": "genesis",
        "carry": "",
        "prev": HASH,
        "asked": {"line": 0, "tag": HASH},
        "tree": {"size": 0, "frontier": []},
        "first_entry": 0,
    }
    assert isinstance(parse_line(_changed(**genesis)), TaggedLine)
    for wrong in (
        {"prev": b64encode(TAG)},
        {"asked": {"line": 1, "tag": HASH}},
        {"asked": {"line": 0, "tag": b64encode(TAG)}},
        {"first_entry": 1},
        {"tree": {"size": 1, "frontier": [HASH]}},
    ):
        with pytest.raises(FormatError, match="begin at zero"):
            parse_line(_changed(**{**genesis, **wrong}))


def test_a_heartbeat_has_the_digest_of_nothing() -> None:
    """A block without entries and with any other digest is refused."""
    empty = base64.b64encode(hashlib.sha256().digest())
    assert isinstance(parse_line(_block(b"5 3 0 7 0 12", empty, b"{}")), TaggedLine)
    with pytest.raises(FormatError, match="digest"):
        parse_line(_block(b"5 3 0 7 0 12", DIGEST, b"{}"))

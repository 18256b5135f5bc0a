"""Changes to an input that keep some of its form: lines, numbers, words and pieces move, and come again."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

NUMBERS = (
    b"0",
    b"1",
    b"-1",
    b"00",
    b"255",
    b"65536",
    b"4294967296",
    b"9223372036854775807",
    b"1e9",
    b"1" * 40,
)
_TOKEN = re.compile(rb"[0-9]+|[A-Za-z_-]+|\"|[{}\[\]:,;=+/ \n]")
_NUMBER = re.compile(rb"[0-9]+")


def mutate(data: bytes, longest: int, rng: Random, words: tuple[bytes, ...], others: list[bytes]) -> bytes:
    """A changed input of at most `longest` bytes; `others` are inputs to take pieces of."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        change = rng.choice(_CHANGES)
        data = change(data, rng, words, others)
    return data[:longest]


_Change = Callable[[bytes, Random, tuple[bytes, ...], list[bytes]], bytes]


def _bit(data: bytes, rng: Random, _words: tuple[bytes, ...], _others: list[bytes]) -> bytes:
    if not data:
        return b"\0"
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def _byte(data: bytes, rng: Random, _words: tuple[bytes, ...], _others: list[bytes]) -> bytes:
    place = rng.randint(0, len(data))
    return data[:place] + bytes([rng.choice(b'\0\n\r\t "\\=;\x1b\x7f\x80\xc2\xe2\xed\xff')]) + data[place:]


def _cut(data: bytes, rng: Random, _words: tuple[bytes, ...], _others: list[bytes]) -> bytes:
    low, high = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:low] + data[high:]


def _again(data: bytes, rng: Random, _words: tuple[bytes, ...], _others: list[bytes]) -> bytes:
    low, high = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:high] + data[low:high] * rng.choice((1, 2, 7, 100)) + data[high:]


def _word(data: bytes, rng: Random, words: tuple[bytes, ...], _others: list[bytes]) -> bytes:
    word = rng.choice(words or NUMBERS)
    place = rng.randint(0, len(data))
    if rng.random() < 0.3 or (token := _TOKEN.search(data, place)) is None:
        return data[:place] + word + data[place:]
    return data[: token.start()] + word + data[token.end() :]


def _number(data: bytes, rng: Random, _words: tuple[bytes, ...], _others: list[bytes]) -> bytes:
    if (token := _NUMBER.search(data, rng.randint(0, len(data)))) is None:
        return data + rng.choice(NUMBERS)
    number = rng.choice((*NUMBERS, b"%d" % (int(token[0][:30]) + rng.choice((-1, 1)))))
    return data[: token.start()] + number + data[token.end() :]


def _lines(data: bytes, rng: Random, _words: tuple[bytes, ...], _others: list[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(one, lines[other])
        case _:
            del lines[one]
    return b"".join(lines)


def _spliced(data: bytes, rng: Random, _words: tuple[bytes, ...], others: list[bytes]) -> bytes:
    other = rng.choice(others) if others else data
    low, high = sorted((rng.randint(0, len(other)), rng.randint(0, len(other))))
    place = rng.randint(0, len(data))
    return data[:place] + other[low:high] + data[place + rng.choice((0, high - low)) :]


_CHANGES: tuple[_Change, ...] = (_bit, _byte, _cut, _again, _word, _number, _lines, _spliced)

"""Structured fields are read as another implementation reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import http_sf
from hypothesis import given
from hypothesis import strategies as st

from each import each
from rate_limiter.http.headers.fields import Item, Token, read_dictionary, read_list

FIELDS = [
    "",
    " ",
    '"default";r=50;t=30',
    '"burst";q=100;w=60,"daily";q=1000;w=86400',
    "a, b;x;y=1 , (a b);c",
    "();a, ( 1  2 ),(a;b=1 c)",
    "a=1, b, c=?0;d, a=2",
    'a=(1 2);b="c"',
    "1, -1, 1.5, -0.25, 123456789012345, 123456789012.123",
    "1234567890123456",
    "1234567890123.1",
    "1.2345",
    "1.",
    "-",
    ".5",
    '"a\\"b\\\\c"',
    '"a\\c"',
    '"open',
    '"\x7f"',
    ":YQ==:",
    ":YQ:",
    "::",
    ":Y:",
    ":a b:",
    "?1",
    "?2",
    "@1700000000",
    "@1700000000.5",
    "@-1",
    '%"a%c3%a9"',
    '%"a%C3%A9"',
    '%"%ff"',
    "a,",
    ",a",
    "a,,b",
    "a b",
    "a\t,\tb",
    "\ta",
    "a;",
    "a; b",
    "a;B",
    "a ;b",
    "(a b",
    "(a,b)",
    "((a))",
    "(a\tb)",
    '("a""b")',
    "*a/b:c, *",
    "A=1",
    "limit=100, remaining=50, reset=60",
    "a;a=1;a=2;b",
    "é",
]


def by_the_oracle(text, kind):
    """Return what the other implementation reads, in this one's words; None if it refuses."""
    try:
        found = http_sf.parse(text.encode("latin-1"), tltype=kind)
    except (ValueError, OverflowError, OSError):  # StructuredFieldError is a ValueError
        return None
    if kind == "list":
        return [item_of(member) for member in found]
    return {name: item_of(member) for name, member in found.items()}


def item_of(member):
    value, parameters = member if isinstance(member, tuple) else (member, {})
    made = [item_of(inner) for inner in value] if isinstance(value, list) else value_of(value)
    return Item(made, {name: value_of(value) for name, value in parameters.items()})


def value_of(value):
    if isinstance(value, http_sf.Token):
        return Token(str(value))
    if isinstance(value, http_sf.DisplayString):
        return str(value)
    if isinstance(value, float):
        return Decimal(str(value))
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.astimezone(UTC)
    return value


@each("text", FIELDS)
def test_read_field_as_the_oracle_does(text):
    """P43: Each form is read, and refused, as http-sf does."""
    assert read_list(text) == by_the_oracle(text, "list")
    assert read_dictionary(text) == by_the_oracle(text, "dictionary")


PIECES = [
    *("a", "b", "*", "A", "=", ";", ",", " ", "  ", "\t", "(", ")", '"', "\\", "1", "-", ".", "?"),
    *("?0", "@1", ":YQ==:", ":", '%"a"', "%", '"a b"', "r=0", "t=30", "12.5"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(TEXTS | st.text(st.characters(max_codepoint=255)))
def test_read_any_text_as_the_oracle_does(text):
    """P43: So is whatever can be made of their pieces, and any text of bytes."""
    assert read_list(text) == by_the_oracle(text, "list")
    assert read_dictionary(text) == by_the_oracle(text, "dictionary")


def test_read_words_and_strings_apart():
    """A word is a Token, and a string of the same letters is not."""
    word, string = read_list('a, "a"')
    assert isinstance(word.value, Token)
    assert not isinstance(string.value, Token)
    assert read_list("?1")[0].value is True

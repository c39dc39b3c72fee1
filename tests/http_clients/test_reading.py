"""What a response says about when to come back: every format, as a table."""

from __future__ import annotations

import math
import time
from email.message import Message

import aiohttp
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from requests.structures import CaseInsensitiveDict

from each import each
from rate_limiter.http import retry_after

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, as RFC 9110 writes it
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:51:37 GMT"

TOLD = [  # what a 429 says, and the seconds it asks for
    ("digits", {"Retry-After": "120"}, 120),
    ("zero", {"Retry-After": "0"}, 0),
    ("blanks around", {"Retry-After": "  7\t"}, 7),
    ("a float", {"Retry-After": "1.5"}, 1.5),
    ("a float without a zero", {"Retry-After": ".5"}, 0.5),
    ("a date", {"Retry-After": LATER, "Date": DATE}, 120),
    ("an RFC 850 date", {"Retry-After": "Sunday, 06-Nov-94 08:51:37 GMT", "Date": DATE}, 120),
    ("an asctime date", {"Retry-After": "Sun Nov  6 08:51:37 1994", "Date": DATE}, 120),
    ("a leap second", {"Retry-After": "Sun, 06 Nov 1994 08:49:60 GMT", "Date": DATE}, 23),
    ("a date without a Date", {"Retry-After": LATER}, 120),
    ("a date with a malformed Date", {"Retry-After": LATER, "Date": "today"}, 120),
    (
        "a date against a server whose clock is an hour behind",
        {"Retry-After": "Sun, 06 Nov 1994 07:49:47 GMT", "Date": "Sun, 06 Nov 1994 07:49:37 GMT"},
        10,
    ),
    ("a date that is past", {"Retry-After": DATE, "Date": LATER}, 0),
    ("a Date in another form", {"Retry-After": LATER, "Date": "Sun Nov  6 08:49:37 1994"}, 120),
    ("milliseconds", {"retry-after-ms": "1250"}, 1.25),
    ("milliseconds before seconds", {"retry-after-ms": "1250", "Retry-After": "2"}, 1.25),
    ("malformed milliseconds", {"retry-after-ms": "soon", "Retry-After": "2"}, 2),
    ("structured", {"RateLimit": '"default";r=0;t=30'}, 30),
    ("structured, a word", {"RateLimit": "default;r=0;t=30"}, 30),
    (
        "structured, with a policy",
        {"RateLimit": '"perhr";r=0;t=1800', "RateLimit-Policy": '"perhr";q=1000;w=3600'},
        1800,
    ),
    ("structured, with a partition", {"RateLimit": '"default";r=0;pk=:dHJpYWw=:;t=9'}, 9),
    ("structured, several exhausted", {"RateLimit": '"s";r=0;t=1, "h";r=0;t=50, "d";r=9;t=99'}, 50),
    ("structured, with something left", {"RateLimit": '"default";r=50;t=30'}, None),
    ("structured, without a time", {"RateLimit": '"default";r=0'}, None),
    ("structured, without what is left", {"RateLimit": '"default";t=30'}, None),
    ("structured, malformed", {"RateLimit": '"default";r=0;t=30,'}, None),
    ("structured, a negative time", {"RateLimit": '"default";r=0;t=-30'}, None),
    ("structured, a fraction", {"RateLimit": '"default";r=0;t=3.5'}, None),
    ("structured, a truth value", {"RateLimit": '"default";r=?0;t=3'}, None),
    ("structured, a number as name", {"RateLimit": "5;r=0;t=3"}, None),
    ("a policy alone", {"RateLimit-Policy": '"perhr";q=1000;w=3600'}, None),
    ("Retry-After before t", {"RateLimit": '"default";r=0;t=30', "Retry-After": "5"}, 5),
    (
        "t before a malformed Retry-After",
        {"RateLimit": '"default";r=0;t=30', "Retry-After": "soon"},
        30,
    ),
    ("an older draft", {"RateLimit": "limit=100, remaining=0, reset=60"}, 60),
    ("an older draft, something left", {"RateLimit": "limit=100, remaining=50, reset=60"}, None),
    ("an older draft, silent", {"RateLimit": "limit=100, reset=60"}, 60),
    ("an older draft, without a reset", {"RateLimit": "limit=100, remaining=0"}, None),
    ("an older draft, negative", {"RateLimit": "remaining=0, reset=-1"}, None),
    ("an older draft, a word", {"RateLimit": "remaining=0, reset=soon"}, None),
    ("an older draft, a truth value", {"RateLimit": "remaining=?0, reset=60"}, None),
    (
        "the triple",
        {"RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": "60"},
        60,
    ),
    ("the triple, something left", {"RateLimit-Remaining": "4", "RateLimit-Reset": "60"}, None),
    ("a reset in seconds", {"X-RateLimit-Reset": "30"}, 30),
    ("a reset at an epoch", {"X-RateLimit-Reset": "1784111807"}, 1_000_000_030),
    ("a reset at a date", {"X-RateLimit-Reset": LATER, "Date": DATE}, 120),
    ("a reset at a timestamp", {"X-RateLimit-Reset": "1994-11-06T08:50:37Z", "Date": DATE}, 60),
    ("a reset after", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "1.25"}, 1.25),
    ("another spelling", {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "15"}, 15),
    ("something left", {"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "30"}, None),
    ("a malformed reset", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
    ("a negative reset", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "-30"}, None),
    ("malformed about what is left", {"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "3"}, 3),
    (
        "OpenAI, minutes",
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "6m0s",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "9h",
        },
        360,
    ),
    (
        "OpenAI, both exhausted",
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "1m2.5s",
        },
        62.5,
    ),
    (
        "OpenAI, neither exhausted",
        {
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-remaining-tokens": "9",
            "x-ratelimit-reset-tokens": "1m",
        },
        None,
    ),
    (
        "OpenAI, days and small units",
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1d2h3m4s5ms6us7ns"},
        93_784.005006007,
    ),
    (
        "OpenAI, Azure's plain seconds",
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "17"},
        17,
    ),
    (
        "several that do not say what is left",
        {"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "7d"},
        None,
    ),
    (
        "Anthropic",
        {
            "Date": DATE,
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "1994-11-06T08:49:47Z",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "1994-11-06T10:49:42.5+02:00",
            "anthropic-ratelimit-output-tokens-remaining": "100",
            "anthropic-ratelimit-output-tokens-reset": "1994-11-06T09:49:37Z",
        },
        10,
    ),
    (
        "Anthropic, malformed",
        {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "1994-13-06T08:49:47Z",
        },
        None,
    ),
    ("a fresh answer of a cache", {"Retry-After": "5", "Age": "0"}, 5),
    ("an old answer of a cache", {"Retry-After": "5", "Age": "1"}, None),
    ("a malformed age", {"Retry-After": "5", "Age": "old"}, 5),
    ("nothing", {}, None),
]
MALFORMED = [
    *(
        "",
        "soon",
        "-5",
        "+5",
        "1e3",
        "1,5",
        "5 s",
        "0x10",
        "inf",
        "nan",
        "9" * 400,
        "٣",
        "1_000",
        "1\0",
    ),
    "Sun, 06 Nov 1994 08:49:37 CET",
    "Sun, 32 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nop 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 0000 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun Nov 06 1994",
    "1994-11-06T08:51:37Z",
]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [pytest.param(headers, seconds, id=name) for name, headers, seconds in TOLD],
)
def test_read_429_finds_what_it_asks_for(headers, seconds):
    """P43: Each format is read, and of the counters those that are exhausted."""
    assert retry_after(429, headers, NOW) == (None if seconds is None else pytest.approx(seconds))


@each("value", MALFORMED)
def test_read_malformed_value_is_as_if_it_were_not_there(value):
    """P43: A Retry-After that is none asks for nothing, and leaves what else is there."""
    assert retry_after(429, {"Retry-After": value}, NOW) is None
    assert retry_after(429, {"Retry-After": value, "RateLimit": '"a";r=0;t=3'}, NOW) == 3


@each(
    ("reset", "seconds"),
    [
        ("1700000030", 30),
        ("1700000030.5", 30.5),
        ("1700000030500", 30.5),
        ("1700000000", 0),
        ("1699999999", 0),
        ("1000000000", 1e9),  # not above 1e9, so no epoch
        ("170000003000000", None),  # neither seconds nor milliseconds
    ],
)
def test_read_epoch_counts_from_the_response(reset, seconds):
    """P43: A reset above 1e9 is an instant, of 13 digits in milliseconds, by the server's clock."""
    date = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}  # 1,700,000,000
    assert retry_after(429, {"X-RateLimit-Reset": reset, **date}, NOW) == seconds
    assert retry_after(429, {"X-RateLimit-Reset": reset}, 1.7e9) == seconds


@each(
    ("status", "headers", "seconds"),
    [
        (503, {"Retry-After": "5"}, 5),
        (503, {"RateLimit": '"a";r=0;t=7'}, 7),
        (503, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, None),
        (529, {"Retry-After": "5"}, 5),  # Anthropic's "overloaded"
        (403, {"Retry-After": "60"}, 60),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1700000030"}, 30),
        (403, {"X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "1700000030"}, None),
        (403, {"X-RateLimit-Reset": "1700000030"}, None),
        (403, {}, None),
        (200, {"RateLimit": '"a";r=0;t=7'}, 7),
        (200, {"RateLimit": '"a";r=0;t=7', "Retry-After": "2"}, 2),
        (200, {"RateLimit": '"a";r=1;t=7', "Retry-After": "2"}, None),
        (200, {"RateLimit": '"a";r=0;t=7', "Age": "3"}, None),
        (200, {"RateLimit": "limit=100, remaining=0, reset=60"}, None),
        (200, {"RateLimit-Remaining": "0", "RateLimit-Reset": "60"}, None),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}, None),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, None),
        (200, {"anthropic-ratelimit-requests-remaining": "0"}, None),
        (202, {"Retry-After": "5"}, None),  # of an answer to poll for
        (301, {"Retry-After": "5"}, None),
        (404, {"RateLimit": '"a";r=0;t=7'}, 7),
        (500, {"Retry-After": "5"}, None),
        (None, {"Retry-After": "5"}, None),
        ("429", {"Retry-After": "5"}, None),
        ([], {"Retry-After": "5"}, None),
    ],
)
def test_read_status_says_what_counts(status, headers, seconds):
    """P43: 429, 503 and GitHub's 403 ask for a pause, and a success only by an empty quota."""
    assert retry_after(status, headers, 1.7e9) == seconds


NAMED = {"Retry-After": "5", "X-Other": "1"}


@pytest.mark.parametrize(
    "headers",
    [
        NAMED,
        {"RETRY-AFTER": "5"},
        {b"retry-after": b"5"},
        {"Retry-After": 5},
        list(NAMED.items()),
        iter(NAMED.items()),
        [(b"Retry-After", b"5")],
        [["retry-after", "5"], ["retry-after", "4"]],
        httpx.Headers(NAMED),
        httpx.Headers(NAMED).raw,
        CIMultiDict(NAMED),
        CaseInsensitiveDict(NAMED),
        pytest.param(
            aiohttp.client_reqrep.CIMultiDictProxy(CIMultiDict(NAMED)), id="CIMultiDictProxy"
        ),
    ],
    ids=lambda headers: type(headers).__name__,
)
def test_read_headers_of_any_library(headers):
    """P43: A mapping of any library is read, and so are pairs, of strings or bytes."""
    assert retry_after(429, headers) == 5


def test_read_headers_of_the_standard_library():
    """P43: So are the headers of the standard library's clients."""
    message = Message()
    message["Retry-After"] = "5"
    assert retry_after(429, message) == 5


@each("headers", [None, 5, "Retry-After: 5", [1, 2], [("a",)], [None], {1: None}])
def test_read_what_are_no_headers_says_nothing(headers):
    """P43: Whatever is given instead of headers, nothing is raised."""
    assert retry_after(429, headers) is None


class Raising:
    """Something that raises whatever is done with it."""

    def __str__(self):
        raise RuntimeError("on purpose")

    __float__ = items = __iter__ = __str__


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (Raising(), None),
        ({"Retry-After": Raising()}, None),
        ([(Raising(), "5"), ("Retry-After",), 5, ("Retry-After", "7")], 7),
    ],
)
def test_read_headers_that_raise_says_what_the_others_say(headers, seconds):
    """P43: What raises when it is read is as if it were not there; the others count."""
    assert retry_after(429, headers) == seconds


@pytest.mark.parametrize(
    "now", [math.nan, math.inf, -math.inf, 1e300, -1e18, 10**400, "x", [], Raising()]
)
@pytest.mark.parametrize("when", ["Sunday, 06-Nov-94 08:49:37 GMT", "9"])
def test_read_at_what_is_no_instant_goes_by_the_machine(now, when):
    """P43: An instant that is none raises nothing: the machine's clock counts instead."""
    headers = {"Retry-After": when}
    assert retry_after(429, headers, now=now) == retry_after(429, headers)
    assert retry_after(429, {"RateLimit-Reset": "5"}, now=now) == 5


def test_read_pairs_that_pass_only_once():
    """P43: An iterator will do, for a success as well."""
    assert retry_after(200, iter([("X", "1"), ("RateLimit", '"a";r=0;t=3')])) == 3


@each("odd", [5, (5, "x"), (Raising(), "x"), iter(("RateLimit", "x")), {"RateLimit": 1}])
@each("name", ["RateLimit", b"ratelimit"])
def test_read_success_among_what_is_no_header(odd, name):
    """P43: A success with nothing left is told from pairs, whatever is among them."""
    assert retry_after(200, [odd, (name, '"a";r=0;t=3')]) == 3


def test_read_field_of_several_lines_as_one():
    """P43: A list may come on several lines; of several Retry-After the longest counts."""
    lines = [("RateLimit", '"a";r=0;t=3'), ("RateLimit", '"b";r=0;t=9')]
    assert retry_after(200, lines) == 9
    assert retry_after(429, [("Retry-After", "3"), ("Retry-After", "9"), ("Retry-After", "x")]) == 9


def test_read_date_without_a_date_goes_by_the_machine():
    """P43: Without a Date and without `now` the machine's clock counts."""
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert retry_after(429, {"Retry-After": at}) == pytest.approx(99, abs=2)


@each(
    ("year", "now", "seconds"),
    [
        ("94", NOW, 120),
        ("44", NOW, 50 * 365.25 * 86_400),  # 50 years ahead
        ("94", 1.3e9, 0),  # 2011: 1994
        ("45", NOW, 0),  # not 51 years ahead, so 1945
        ("04", 4_055_000_000, 6 * 365.25 * 86_400),  # 2098: 2104
        ("70", 4_055_000_000, 0),  # 2098: 2070
    ],
)
def test_read_year_of_two_digits_is_at_most_fifty_years_ahead(year, now, seconds):
    """P43: RFC 9110: a year of two digits that seems more than 50 years ahead is past."""
    told = {"Retry-After": f"Sunday, 06-Nov-{year} 08:51:37 GMT"}
    assert retry_after(429, told, now) == pytest.approx(seconds, abs=400 * 86_400, rel=0)


NAMES = [
    *(b"Retry-After", b"retry-after-ms", b"RateLimit", b"RateLimit-Policy", b"Date", b"Age"),
    *(b"X-RateLimit-Reset", b"X-RateLimit-Remaining", b"x-ratelimit-reset-tokens"),
    *(b"anthropic-ratelimit-tokens-reset", b"anthropic-ratelimit-tokens-remaining"),
]
VALUES = [
    *(DATE.encode(), b"0", b"1e999", b'"a";r=0;t=3', b"remaining=0, reset=5", b"6m0s"),
    *(b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"@999999999999999", b"9" * 500),
]
FIELDS = st.tuples(
    st.sampled_from(NAMES) | st.binary(max_size=8), st.sampled_from(VALUES) | st.binary(max_size=40)
)


@given(
    st.sampled_from([200, 403, 429, 503]),
    st.lists(FIELDS, max_size=8),
    st.none() | st.floats(-1e15, 1e15),
)
def test_read_any_bytes_never_raises(status, headers, now):
    """P43: Headers of any bytes give a number of seconds or None, in either type."""
    seconds = retry_after(status, headers, now)
    assert seconds is None or (isinstance(seconds, float) and 0 <= seconds < float("inf"))
    text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    again = retry_after(status, text, now)
    assert now is None or again == seconds

"""Each format of a log is read as servers write it, and what is wrong is said."""

from __future__ import annotations

import contextlib
from time import process_time

import pytest

from rate_limiter.http.addresses import client_ip
from rate_limiter.simulate.formats import AccessLog, Columns, Fields, JsonLines, Request
from rate_limiter.simulate.numbers import Unreadable
from rate_limiter.simulate.reading import Reader

NANO = 10**9
COMMON = '203.0.113.9 - ada [14/Nov/2023:22:13:20 +0000] "GET /a?b=1 HTTP/1.1" 200 512'
COMBINED = f'{COMMON} "https://example.com/" "curl/8.0 (x; \\"y\\")"'
AT = 1_700_000_000 * NANO


@pytest.mark.parametrize(
    "line",
    [
        COMMON,
        COMBINED,
        f"{COMBINED} 0.004",
        f"shop.example:443 {COMBINED}",
        COMMON.replace("ada", "ada lovelace"),
        COMMON.replace("ada", "ada [the first]"),
        COMMON.replace("ada", "a" * 1000),
        COMMON.replace('"GET /a?b=1 HTTP/1.1"', r'"\x16\x03\"\x01"'),
        COMMON.replace('"GET /a?b=1 HTTP/1.1"', '""'),
        COMMON.replace("200 512", "- -"),
    ],
)
def test_read_access_log_in_its_variants(line):
    """Common, combined, longer ones, virtual hosts, odd users and broken requests are read."""
    assert AccessLog(Fields()).read(line) == Request(AT, "203.0.113.9", 1)


def test_read_access_log_of_an_ipv6_client():
    """An address with colons is no virtual host, whatever its agent writes."""
    line = f'{COMBINED.replace("203.0.113.9", "2001:db8::1")[:-1]} [en] x"'
    assert AccessLog(Fields(key="host")).read(line).key == "-"
    assert AccessLog(Fields()).read(line).key == "2001:db8::/64"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::9", "2001:db8::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("host.example", "host.example"),
    ],
)
def test_read_address_as_services_do(address, key):
    """P44: The key of an address is the one by which a service limits, as in `client_ip`."""
    log = AccessLog(Fields())
    assert log.read(COMMON.replace("203.0.113.9", address)).key == key
    assert log.key_of(address) == key == client_ip({"client": (address, 80)})
    assert AccessLog(Fields(key="user")).key_of(address) == address


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ip", "203.0.113.9"),
        ("user", "ada"),
        ("method", "GET"),
        ("path", "/a"),
        ("protocol", "HTTP/1.1"),
        ("status", "200"),
        ("bytes", "512"),
        ("referer", "https://example.com/"),
        ("agent", 'curl/8.0 (x; \\"y\\")'),
        ("host", "-"),
        ("request", "GET /a?b=1 HTTP/1.1"),
        ("ident", "-"),
        ("time", "14/Nov/2023:22:13:20 +0000"),
    ],
)
def test_read_access_log_by_any_field(name, value):
    """Every field of an access log can be the key."""
    assert AccessLog(Fields(key=name)).read(COMBINED).key == value


def test_read_access_log_with_bytes_as_cost():
    """A field with a number can be the cost; no bytes are free."""
    log = AccessLog(Fields(cost="bytes"))
    assert log.read(COMBINED).cost == 512
    assert log.read(COMBINED.replace(" 512", " -")).cost == 0


@pytest.mark.parametrize("start", ["1.1.1.1 - ", "", '1.1.1.1 - - [c] "', "a:1 1.1 - "])
@pytest.mark.parametrize("shape", ["a [", "[ ", "b [c] ", 'b [c] "', "a ", ":1", "1", "] ", '\\"'])
def test_read_access_line_takes_as_long_as_it_is(start, shape):
    """A line of a mebibyte that is none of an access log is refused at once, whatever it holds."""
    began = process_time()
    with pytest.raises(Unreadable):
        AccessLog(Fields()).read(start + shape * (2**20 // len(shape)))
    assert process_time() - began < 5  # what grows with the square takes minutes


def test_read_json_key_of_any_depth():
    """A key of many objects within each other is shown, or the line is unreadable."""
    for depth in range(300, 1100):
        line = '{"time": 1, "key": [' + '{"x":' * depth + "1" + "}" * depth + "]}"
        with contextlib.suppress(Unreadable):
            assert JsonLines(Fields()).read(line).key.count("x") == depth
    with pytest.raises(Unreadable):
        JsonLines(Fields()).read('{"time": 1, "key": ' + "[" * 9999 + "]" * 9999 + "}")


@pytest.mark.parametrize(
    ("fields", "line", "request_"),
    [
        (Fields(), '{"time": 1.5, "key": "a"}', Request(1_500_000_000, "a", 1)),
        (Fields(), '{"timestamp": 1, "key": "a"}', Request(NANO, "a", 1)),
        (Fields(), '{"ts": 1, "key": 7}', Request(NANO, "7", 1)),
        (Fields(), '{"@timestamp": "1970-01-01T00:00:01Z", "key": null}', Request(NANO, "null", 1)),
        (
            Fields("at", "user", "tokens"),
            '{"at": 0, "user": "b", "tokens": 12}',
            Request(0, "b", 12),
        ),
        (Fields(key="request.ip"), '{"ts": 0, "request": {"ip": "c"}}', Request(0, "c", 1)),
        (Fields(key="request.ip"), '{"ts": 0, "request.ip": "d"}', Request(0, "d", 1)),
        (
            Fields(key="of"),
            '{"ts": 0, "of": {"z": 1.5, "a": 2}}',
            Request(0, '{"a": 2, "z": "1.5"}', 1),
        ),
    ],
)
def test_read_json_lines_by_the_names_of_fields(fields, line, request_):
    """Fields are found by their names, dotted ones in objects; usual names are known."""
    assert JsonLines(fields).read(line) == request_


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "not a JSON object"),
        ("{broken", "not a JSON object"),
        ('{"a":' * 100_000, "not a JSON object"),
        ('{"time": 1, "user": "a"}', "it has no field 'key'; it has time, user"),
        ('{"key": "a", "at": 1}', "it has no field 'time'; it has key, at"),
        ("{}", "it has no field 'key'; it has none"),
        ('{"key": "a", "time": "soon"}', "'soon' is not a time"),
    ],
)
def test_read_json_line_without_its_fields_says_what_it_has(line, message):
    """The text about a line names the field that is missing, and those that are there."""
    with pytest.raises(Unreadable, match=message):
        JsonLines(Fields()).read(line)


def test_read_columns_with_and_without_a_cost():
    """`seconds key [cost]` is read, whatever names are given."""
    columns = Columns(Fields(key="ip"))
    assert columns.read("1.5 a") == Request(1_500_000_000, "a", 1)
    assert columns.read("2\tb  3") == Request(2 * NANO, "b", 3)


@pytest.mark.parametrize("line", ["1", "1 a 2 3", "a 1", "1 a many"])
def test_read_columns_that_do_not_fit_is_refused(line):
    """More or fewer columns, and such without a time or a cost, are unreadable."""
    with pytest.raises(Unreadable):
        Columns(Fields()).read(line)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["garbage", COMMON, "1 a"], ["203.0.113.9"]),
        (['{"ts": 0}', '{"ts": 0, "key": "k"}', COMMON], ["k"]),
        (["# seconds key", "1 a", "2 b", COMMON], ["a", "b"]),
    ],
)
def test_read_log_keeps_to_the_format_of_its_first_readable_line(lines, found):
    """Lines of another format are counted as unreadable from then on; blank ones are not."""
    reader = Reader(Fields())
    assert [request.key for request in reader.requests(["", *lines, ""])] == found
    assert (reader.readable, reader.unreadable) == (len(found), len(lines) - len(found))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"at": 1}', "line 2: it has no field 'key'; it has at"),
        (COMMON[:-4], "line 2: it is not a line of an access log"),
        ("one", "line 2: 'seconds key [cost]' has 2 or 3 columns, it has 1"),
        (None, "line 2: it is longer than a mebibyte"),
    ],
)
def test_read_log_tells_why_the_first_line_was_not_read(line, problem):
    """The problem that is told is the one of the likeliest format, with the number of the line."""
    reader = Reader(Fields())
    assert not list(reader.requests(["", line, "two", '{"x": 1}']))
    assert reader.first_problem == problem


def test_read_log_in_a_format_that_was_named():
    """A named format is not guessed."""
    reader = Reader(Fields(), "columns")
    assert [request.key for request in reader.requests([COMMON, "1 a"])] == ["a"]
    assert reader.unreadable == 1

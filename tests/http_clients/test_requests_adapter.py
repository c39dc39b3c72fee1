"""What is particular to the adapter of requests."""

from __future__ import annotations

import gc
import gzip
import io
import json
import shutil
import socket
import ssl
import threading
import weakref
from contextlib import contextmanager

import pytest
import requests
from requests.adapters import BaseAdapter
from requests.auth import HTTPDigestAuth
from stub_api import Reply
from urllib3 import HTTPResponse
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ResponseError,
    SSLError,
)

from rate_limiter import KeyedRateLimiter, RateLimiter, TokenBucket
from rate_limiter.http.requests import RateLimitAdapter
from rate_limiter.testing import ManualClock

GZIPPED = {"Content-Encoding": "gzip"}
BODY = b"line 1\nline 2\n" * 3000


@pytest.fixture
def bucket():
    return TokenBucket(capacity=1000, tokens_per_second=1, clock=ManualClock(auto_advance=True))


@pytest.fixture
def tails():
    return []


@pytest.fixture
def session(bucket, tails):
    """Return a session that notes the tails of its bodies."""
    with requests.Session() as session:
        adapter = RateLimitAdapter(RateLimiter(bucket), settle=lambda _, tail: tails.append(tail))
        session.mount("http://", adapter)
        yield session


def read_all(raw):
    return raw.read()


def read_in_pieces(raw):
    pieces = []
    while piece := raw.read(1000, decode_content=True):
        pieces.append(piece)
    return b"".join(pieces)


def read_as_it_comes(raw):
    pieces = []
    while piece := raw.read1(1000, decode_content=True):
        pieces.append(piece)
    return b"".join(pieces)


def read_whatever_is_there(raw):
    pieces = []
    while piece := raw.read1(decode_content=True):
        pieces.append(piece)
    return b"".join(pieces)


def copy(raw):
    file = io.BytesIO()
    shutil.copyfileobj(raw, file)
    return file.getvalue()


def read_all_with_a_negative_amount(raw):
    return raw.read(-1)


READERS = [
    (read_all, False),
    (read_all_with_a_negative_amount, False),
    (copy, False),
    (read_in_pieces, True),
    (read_as_it_comes, True),
    (read_whatever_is_there, True),
    (lambda raw: b"".join(raw.stream(1000)), False),
    (lambda raw: b"".join(raw.stream(1000, decode_content=True)), True),
    (b"".join, True),
    (lambda raw: raw.data, False),
]


@pytest.mark.parametrize(("read", "decodes"), READERS)
@pytest.mark.parametrize("chunked", [True, False])
def test_read_raw_body_in_any_way_settles_once(session, api, url, tails, read, decodes, chunked):  # noqa: PLR0917
    """A body may also be read by hand, decoded or not; it is decoded for `settle`, once."""
    sent = gzip.compress(BODY)
    length = {} if chunked else {"Content-Length": str(len(sent))}
    api.replies.append(Reply(headers={**GZIPPED, **length}, chunks=(sent[:99], sent[99:])))
    with session.get(url, stream=True) as response:
        assert read(response.raw) == (BODY if decodes else sent)
        assert tails == [BODY]
    assert tails == [BODY]


def test_read_a_piece_at_a_time_settles_at_the_end(session, api, url, tails):
    """A piece that is read without an amount is not the whole body."""
    gate = threading.Event()
    length = {"Content-Length": "2"}
    api.replies.append(Reply(headers=length, chunks=(b"a", b"b"), gate=gate))
    with session.get(url, stream=True) as response:
        assert response.raw.read1() == b"a"
        assert tails == []
        gate.set()
        assert response.raw.read1() == b"b"
        assert response.raw.read1() == b""
        assert tails == [b"ab"]


def test_read_chunks_by_hand_settles(session, api, url, tails):
    """Chunks may be read as such."""
    api.replies.append(Reply(chunks=(b"a", b"b")))
    with session.get(url, stream=True) as response:
        assert list(response.raw.read_chunked()) == [b"a", b"b"]
    assert tails == [b"ab"]


def test_read_nothing_and_close_settles_for_nothing(session, api, url, tails):
    """A response that is closed unread has shown nothing, and reading none of it is not its end."""
    with session.get(url, stream=True) as response:
        assert response.raw.read(0) == response.raw.read1(0) == b""
        assert tails == []
    assert tails == [b""]


def test_drop_a_response_unread_frees_it_at_once(session, api, url, tails):
    """A response that nobody closes and nobody holds is closed there and then, and settled."""
    api.replies.append(Reply(chunks=(b"a", b"b"), gate=(gate := threading.Event())))
    gc.disable()
    try:
        response = session.get(url, stream=True)
        assert response.raw.read(1) == b"a"
        held = weakref.ref(response.raw)
        del response
        assert held() is None
    finally:
        gc.enable()
        gate.set()
    assert tails == [b"a"]


def test_read_a_body_whose_response_is_gone_settles(bucket, api, url):
    """Who keeps only the body settles all the same, by a response like the one that came."""
    found = []
    api.replies.append(Reply(203, {"X-Name": "value"}, (b"body",)))

    def settle(response, tail):
        found.append((response.status_code, response.headers["x-name"], response.url, tail))

    with requests.Session() as session:
        session.mount("http://", RateLimitAdapter(RateLimiter(bucket), settle=settle))
        assert session.get(url, stream=True).raw.read() == b"body"
    assert found == [(203, "value", f"{url}/", b"body")]


def test_watch_a_body_twice_settles_both(bucket, api, url):
    """An adapter within another sees the same body, and each settles its own permit."""
    other = TokenBucket(100, 1, clock=bucket.clock)
    settle = lambda response, tail: len(tail)  # noqa: E731
    inner = RateLimitAdapter(RateLimiter(other), cost=50, settle=settle)
    outer = RateLimitAdapter(RateLimiter(bucket), cost=500, settle=settle, transport=inner)
    api.replies.append(Reply(chunks=(b"body",)))
    with requests.Session() as session:
        session.mount("http://", outer)
        assert session.get(url).content == b"body"
    assert (bucket.available_tokens, other.available_tokens) == (996, 96)


def test_keep_kind_of_raw_body(session, api, url):
    """The body stays the object that it was."""
    with session.get(url, stream=True) as response:
        assert type(response.raw).__module__.startswith("urllib3")


class Canned(BaseAdapter):
    """An adapter that sends nothing, as those of mocks do."""

    def __init__(self, **attributes):
        super().__init__()
        self.attributes = attributes
        self.closed = False

    def send(self, request, **options):
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        for name, value in self.attributes.items():
            setattr(response, name, value)
        return response

    def close(self):
        self.closed = True


def test_settle_response_of_a_mock(bucket, tails):
    """A body that is no body of urllib3 is read, and settles at once."""
    inner = Canned(raw=io.BytesIO(b"canned"))
    settle = lambda response, tail: tails.append(tail)  # noqa: E731
    with requests.Session() as session:
        adapter = RateLimitAdapter(RateLimiter(bucket), settle=settle, transport=inner)
        session.mount("http://", adapter)
        assert session.get("http://host/").content == b"canned"
    assert tails == [b"canned"]
    assert inner.closed


@pytest.mark.parametrize("raw", [io.BytesIO(), HTTPResponse(io.BytesIO(), {"retry-after": "5"})])
def test_receive_fields_that_somebody_has_changed_reads_those(bucket, raw):
    """P43: What an adapter within says of a response counts, whatever its body knows."""
    headers = requests.structures.CaseInsensitiveDict({"Retry-After": "7"})
    inner = Canned(raw=raw, headers=headers, status_code=429)
    with requests.Session() as session:
        session.mount("http://", RateLimitAdapter(RateLimiter(bucket), transport=inner))
        session.get("http://host/")
    assert bucket.level.paused_for == 7


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("http://127.0.0.1:1", requests.ConnectionError),
        ("http://no-such-host.invalid", requests.ConnectionError),
        ("https://127.0.0.1:{port}", requests.exceptions.SSLError),
    ],
)
def test_fail_before_sending_costs_nothing(bucket, url, address, error):
    """P43: Neither does a request that found no host, no way, or no trust."""
    with requests.Session() as session:
        session.mount("http", RateLimitAdapter(RateLimiter(bucket)))
        with pytest.raises(requests.ConnectionError) as caught:
            session.get(address.format(port=url.rpartition(":")[2]), timeout=5)
    assert isinstance(caught.value, error)
    assert bucket.available_tokens == 1000


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "http://"])
def test_fail_at_a_proxy_costs_nothing(bucket, proxy):
    """P43: Nor does one that did not get past its proxy."""
    with requests.Session() as session:
        session.mount("http://", RateLimitAdapter(RateLimiter(bucket)))
        with pytest.raises((requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL)):
            session.get("http://host.invalid/", proxies={"http": proxy})
    assert bucket.available_tokens == 1000


class Failing(Canned):
    """An adapter whose every request ends in an error."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def send(self, request, **options):
        raise self.error


def why(reason):
    """Return what urllib3 raises for that reason after its attempts."""
    return MaxRetryError(None, "/", reason)


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (requests.ConnectTimeout(why(ConnectTimeoutError())), 0),
        (requests.exceptions.SSLError(why(SSLError("amid the answer"))), 1),
        (
            requests.exceptions.ProxyError(why(ProxyError("no way", NewConnectionError(None, "")))),
            0,
        ),
        (requests.exceptions.ProxyError(why(ProxyError("gone", OSError("reset")))), 1),
        (requests.exceptions.InvalidSchema("no adapter"), 0),
        (requests.ConnectionError(why(ProtocolError("aborted"))), 1),
        (requests.ConnectionError(ProtocolError("aborted")), 1),
        (requests.exceptions.SSLError(SSLError("amid the answer")), 1),
        (requests.exceptions.RetryError(why(ResponseError("too many 503"))), 1),
        (requests.ConnectionError(), 1),
    ],
)
def test_fail_is_charged_if_the_request_may_have_left(bucket, error, charged):
    """P43: What urllib3 says about the reason decides; what says nothing stays charged."""
    with requests.Session() as session:
        session.mount("http://", RateLimitAdapter(RateLimiter(bucket), transport=Failing(error)))
        with pytest.raises(type(error)):
            session.get("http://host/")
    assert bucket.available_tokens == 1000 - charged


@contextmanager
def hanging_up():
    """Serve a port that reads one request and hangs up on it; by then nobody listens any more."""
    seen = []

    def serve():
        connection = listening.accept()[0]
        listening.close()
        with connection:
            seen.append(connection.recv(4096))

    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", seen
    thread.join()


def test_lose_tls_once_the_request_has_left_stays_charged(bucket, url, api, monkeypatch):
    """P43: An error of TLS amid the answer has the type of one in the handshake."""

    def fail(connection):
        connection.sock.recv(1)
        raise ssl.SSLError("bad record type")

    monkeypatch.setattr("urllib3.connection.HTTPConnection.getresponse", fail)
    with requests.Session() as session:
        session.mount("http://", RateLimitAdapter(RateLimiter(bucket)))
        with pytest.raises(requests.exceptions.SSLError, match="bad record type"):
            session.get(url)
    assert len(api.requests) == 1
    assert bucket.available_tokens == 999


def test_lose_a_proxy_that_has_the_request_stays_charged(bucket):
    """P43: A proxy that hangs up on a request has seen it, whatever urllib3 says."""
    with hanging_up() as (proxy, seen), requests.Session() as session:
        session.mount("http://", RateLimitAdapter(RateLimiter(bucket)))
        with pytest.raises(requests.exceptions.ProxyError):
            session.get("http://host.invalid/", proxies={"http": proxy})
    assert len(seen) == 1
    assert bucket.available_tokens == 999


def test_fail_to_connect_after_an_attempt_that_left_stays_charged(bucket):
    """P43: Where the adapter within tries again by itself, only its last failure is known."""
    with hanging_up() as (url, seen), requests.Session() as session:
        inner = requests.adapters.HTTPAdapter(max_retries=1)
        session.mount("http://", RateLimitAdapter(RateLimiter(bucket), transport=inner))
        with pytest.raises(requests.ConnectionError):
            session.get(url)
    assert len(seen) == 1
    assert bucket.available_tokens == 999


def test_authenticate_by_digest_pays_each_request(session, api, url, bucket):
    """Authentication that sends a request again sends it through the limiter."""
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    api.replies.append(Reply(401, {"WWW-Authenticate": challenge}))
    assert session.get(url, auth=HTTPDigestAuth("user", "password")).status_code == 200
    assert bucket.available_tokens == 998


def test_follow_redirect_pays_each_request(session, api, url, bucket):
    """Each request that a redirect makes is one."""
    api.replies.append(Reply(302, {"Location": "/there"}))
    session.get(url)
    assert bucket.available_tokens == 998


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://User:Word@Example.ORG:8000/path", "example.org"),
        ("http://[::1]:8000/", "[::1]"),
        ("http+unix://%2Fsocket/path", "%2Fsocket"),
        (None, ""),
    ],
)
def test_find_host_of_any_address(address, host):
    """The key of a request is its host, in small letters, without port or credentials."""
    limiters = KeyedRateLimiter.from_rate("10/second")
    adapter = RateLimitAdapter(limiters, transport=Canned())
    request = requests.PreparedRequest()
    request.url = address
    adapter.send(request)
    assert limiters[host].bucket.available_tokens < 10


def test_send_with_the_options_of_the_session(bucket, api, url):
    """What a session passes on reaches the adapter within, by name or by position."""
    with requests.Session() as session:
        request = session.prepare_request(requests.Request("POST", url, json={"a": 1}))
        adapter = RateLimitAdapter(RateLimiter(bucket))
        response = adapter.send(request, True, 5)
        assert json.loads(response.raw.read()) == {}
        adapter.close()
    assert api.requests == [("POST", "/", b'{"a": 1}')]

"""The applications of the page about services limit as it says; test_pages.py runs its code."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from service_worlds import ask, http_scope, run_wsgi

from pages import blocks_of, namespace_of, rows_of, run_row

BLOCKS = {block.heading: block for block in blocks_of("docs/services.md")}
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "SERVER_NAME": "a",
    "SERVER_PORT": "80",
    "wsgi.url_scheme": "http",
}


def run(heading):
    """Run a block; return the application that it makes."""
    return namespace_of(BLOCKS[heading])["app"]


def get(app, path="/", state=None, **fields):
    scope = http_scope(path, **fields)
    return asyncio.run(ask(app, scope | {"state": state or {}}))


def get_by_wsgi(app, **fields):
    return run_wsgi(app, ENVIRON | fields)


def test_find_blocks_finds_each():
    """Every block of the page is run by a test here."""
    named = re.findall(r'run\("(.*?)"\)', Path(__file__).read_text(encoding="utf-8"))
    assert set(named) == set(BLOCKS)


def test_limit_asgi():
    """The first block limits by minutes."""
    assert get(run("ASGI")).field("RateLimit-Policy") == '"default";q=100;w=60'


def test_limit_wsgi():
    """So does the second."""
    reply = get_by_wsgi(run("WSGI"), REMOTE_ADDR="10.0.0.1")
    assert reply.field("RateLimit") == '"default";r=99;t=1'


def test_limit_a_route_of_fastapi():
    """A route is limited for each user who is known, and for each address of those who are not."""
    app = run("Single routes of FastAPI")
    statuses = [get(app, "/search", state={"user": "ann"}).status for _ in range(11)]
    assert statuses == [422] * 10 + [429]
    assert [get(app, "/search", x_user=f"u{n}").status for n in range(11)] == statuses


def test_read_the_address_behind_a_proxy():
    """ProxyFix goes outside, so each forwarded address has a limit of its own."""
    app = run("Who the client is")
    told = [
        get_by_wsgi(app, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=f"203.0.113.{n}")
        for n in range(2)
    ]
    assert [reply.field("RateLimit") for reply in told] == ['"default";r=99;t=1'] * 2


def test_replace_the_body():
    """The body of a refusal is the page's."""
    app = run("What clients are told")
    replies = [get(app) for _ in range(15)]
    assert replies[-1].body.startswith(b"<h1>429</h1>")


def test_throttle_logins():
    """A login is limited, other paths are not."""
    app = run("Throttle logins")
    assert get(app, "/other").field("RateLimit") is None
    assert get(app, "/login").field("RateLimit").startswith('"5/minute";r=5;t=0')


def test_throttle_accounts():
    """An account is limited from all addresses together; a refusal says when to come back."""
    app = run("Throttle accounts")
    scope = http_scope("/login") | {"method": "POST", "query_string": b"account=ann", "state": {}}
    replies = [asyncio.run(ask(app, scope)) for _ in range(6)]
    assert [reply.status for reply in replies] == [200] * 5 + [429]
    assert replies[-1].field("Retry-After") == "12"


@pytest.mark.parametrize(
    ("user", "quota"),
    [(None, 10), ({"plan": "free", "id": 1}, 10), ({"plan": "pro", "id": 2}, 1000)],
)
def test_limit_by_plan(user, quota):
    """The plan makes the limit."""
    app = run("Limits by plan")
    reply = get(app, state={"user": user}) if user else asyncio.run(ask(app, http_scope("/")))
    assert reply.field("RateLimit-Policy") == f'"plan";q={quota};w=60'


def test_limit_by_route():
    """Routes cost what the table says, and each has a limit beside the one of all."""
    app = run("Limits by route")
    assert get(app, "/health").field("RateLimit") == '"route";r=9;t=1'
    assert get(app, "/export").field("RateLimit") == '"default";r=80;t=12, "route";r=9;t=1'


def test_try_a_limit():
    """A dry run refuses nobody."""
    app = run("Try a limit first")
    assert {get(app).status for _ in range(102)} == {404}


def test_share_a_limit_in_a_file(tmp_path, monkeypatch):
    """A key has a bucket in the file, which two applications share."""
    monkeypatch.chdir(tmp_path)
    one, two = run("Several processes"), run("Several processes")
    assert get(one).field("RateLimit").startswith('"default";r=99;')
    assert get(two).field("RateLimit").startswith('"default";r=98;')


def test_share_a_limit_on_a_server():
    """A key has a bucket on the server, made after it."""
    app = run("Several machines")
    limiters = app.user_middleware[0].kwargs["limiters"]
    assert limiters["a"].bucket.capacity == 100


def test_answer_a_refusal_as_those_who_come_from_slowapi():
    """The handler that stands beside slowapi's answers as the default one does."""
    page = "docs/coming-from.md"
    names = namespace_of(blocks_of(page)[0])
    run_row(next(cell for first, cell in rows_of(page) if "exception_handler" in first), names)
    app, depends, limit = names["app"], names["Depends"], names["limit"]
    app.get("/", dependencies=[depends(limit(names["users"]))])(lambda: "here")
    replies = [get(app) for _ in range(11)]
    assert [reply.status for reply in replies] == [200] * 10 + [429]
    assert replies[-1].field("Retry-After") == "6"

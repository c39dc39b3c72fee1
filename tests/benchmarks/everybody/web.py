"""What a limit adds to an HTTP request of a service or a client, over the same without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from measuring import Measure, Sample, repetitions, statement

from everybody.contender import Contender
from everybody.row import Bench

__all__ = ["fastapi", "flask", "requests", "starlette"]


def over(limited: Measure, bare: Measure) -> Sample:
    """Measure what one takes beyond the other."""
    number = repetitions(limited)
    bare(number)
    return lambda: (limited(number) - bare(number)) / number


def starlette(contender: Contender, bench: Bench) -> Sample | None:
    from services import asgi_calls, starlette_app

    limited = contender.starlette(starlette_app())
    if limited is None:
        return None
    return over(asgi_calls(limited, bench.loop), asgi_calls(starlette_app(), bench.loop))


def fastapi(contender: Contender, bench: Bench) -> Sample | None:
    from services import asgi_calls, fastapi_app

    dependency = contender.fastapi()
    if dependency is None:
        return None
    limited = fastapi_app(dependency)
    return over(asgi_calls(limited, bench.loop), asgi_calls(fastapi_app(), bench.loop))


def flask(contender: Contender, bench: Bench) -> Sample | None:
    from services import flask_app, wsgi_calls

    limited = contender.flask(flask_app())
    return None if limited is None else over(wsgi_calls(limited), wsgi_calls(flask_app()))


def requests(contender: Contender, bench: Bench) -> Sample | None:
    from canned import Canned
    from requests import Request

    limited = contender.requests(Canned)
    if limited is None:
        return None
    request = Request("GET", "https://example.org/").prepare()
    send: Callable[[Any], Measure] = lambda adapter: statement("f(r)", f=adapter.send, r=request)  # noqa: E731
    return over(send(limited), send(Canned()))

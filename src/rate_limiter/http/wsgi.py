"""Limit the requests of a WSGI service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any, TypeAlias

from ..admission import Tokens
from ..permit import Permit
from .addresses import remote_addr
from .given import Limiters
from .problems import MakeBody
from .service import Answer, Service

__all__ = ["RateLimitMiddleware", "remote_addr"]

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
App: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

_ERROR = 500


class RateLimitMiddleware:
    """Refuse the requests of clients that send too many, with 429 and a time to come back.

        limiters = KeyedRateLimiter.from_rate("100/minute", block=False)
        app.wsgi_app = RateLimitMiddleware(app.wsgi_app, limiters)

    Each client has a limit of its own, by the address of its peer; behind a proxy, see
    `remote_addr`. Every other answer says what is left. While the store of a bucket is
    away, its own fallback decides; without one requests get a 503.

    Args:
        app: The WSGI application.
        limiters: A limiter for each key, or a single one for all clients together.
        key: Gets the environ; returns the key of its client, or None for one that is exempt.
            Instead of a function, None is the default.
        cost: Tokens for a request, or a function that gets the environ and returns them; 0 is free.
        count: Gets the status of an answer; returns whether the request counts. Each request pays
            first, and gets its tokens back if it does not count. None: all requests count.
        name: What header fields call the limit, if it is a single one.
        legacy_headers: Whether to send `X-RateLimit-Limit`, `-Remaining` and `-Reset` as well.
        body: Gets the environ of a refused request, and the problem details as a dict; returns a
            content type and a body.
        block: Whether requests wait for tokens instead of getting a 429; then the limiters have to
            be made with `block=True` as well.
        dry_run: Whether to let every request through and only count, also where the limiters were
            made without `dry_run`.

    Raises:
        CostExceedsCapacity: No request could ever pay `cost`, and the limiters do not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: The limiters wait and `block` does not say so, or the other way round; or `name`
            is not printable ASCII, or `cost` not above 0.
    """

    def __init__(
        self,
        app: App,
        limiters: Limiters,
        key: Callable[[Any], Any] | None = remote_addr,
        *,
        cost: Tokens | Callable[[Any], Any] = 1,
        count: Callable[[int], bool] | None = None,
        name: str = "default",
        legacy_headers: bool = False,
        body: MakeBody | None = None,
        block: bool = False,
        dry_run: bool = False,
    ) -> None:
        self._app = app
        self._service = Service(
            limiters,
            key=remote_addr if key is None else key,
            awaits=False,
            cost=cost,
            count=count,
            name=name,
            legacy_headers=legacy_headers,
            body=body,
            block=block,
            dry_run=dry_run,
        )

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request."""
        decision = self._service.decide(environ)
        if decision is None:
            return self._app(environ, start_response)
        if isinstance(decision, Answer):
            return _refuse(decision, environ, start_response)
        if self._service.counts_some:
            return _Counted(self._service, decision, start_response).run(self._app, environ)
        fields = self._service.fields(decision)

        def start(status: str, headers: Any, *exc_info: Any) -> Any:
            return start_response(status, [*headers, *fields], *exc_info)

        return self._app(environ, start)


def _refuse(answer: Answer, environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", answer.fields)
    return [b""] if environ.get("REQUEST_METHOD") == "HEAD" else [answer.body]


class _Counted:
    """A request that counts if its answer's status says so; the body of its answer.

    An application may replace the status until the first piece of its body, with which it is sent.
    """

    def __init__(self, service: Service, permit: Permit, start_response: StartResponse) -> None:
        self._service = service
        self._permit = permit
        self._start_response = start_response
        self._begun = False  # whether the application has said a status
        self._refunds = False  # whether its tokens are to be given back, by the status so far
        self._sent = False
        self._body: Any = ()

    def run(self, app: App, environ: Environ) -> Iterable[bytes]:
        """Serve it. If it ends without an answer it counts."""
        with self:
            self._body = body = app(environ, self._start)
            self._send()
            return body if self._sent else self

    def __iter__(self) -> Iterator[bytes]:
        with self:
            for piece in self._body:
                self._send()
                yield piece
        self._send()

    def close(self) -> None:
        """Close the body, as a server does at its end."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, Exception) and not self._sent:
            self._decide(_ERROR)  # which the server makes of it
            self._send()

    def _start(self, status: str, headers: Any, *exc_info: Any) -> Any:
        if not self._sent:
            self._decide(int(status[:3]))
        fields = self._service.fields(self._permit, refunded=self._refunds)
        return self._start_response(status, [*headers, *fields], *exc_info)

    def _decide(self, status: int) -> None:
        self._begun = True
        try:
            self._refunds = not self._service.counts(status)
        except BaseException:
            self._refunds = True  # for it cannot be told
            self._send()
            raise

    def _send(self) -> None:
        """Give the tokens back unless the request counts: its status is final now."""
        if self._begun and not self._sent:
            self._sent = True
            if self._refunds:
                self._service.give_back(self._permit)

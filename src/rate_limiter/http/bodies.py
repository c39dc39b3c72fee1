"""Bodies of urllib3 that settle a permit as they are read."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any
from weakref import ref

from .exchange import run
from .plan import Plan
from .settlement import Settlement
from .waiting import Blocking

__all__ = ["BodyWatch"]


class BodyWatch:
    """Watches a body of urllib3, in place, because callers may ask what kind of object it is.

    Every way of reading passes `read`, `read1` or `read_chunked`, and `stream` also knows its end.
    The body holds its watch, so the watch holds neither the body nor the response: a response that
    is dropped unread is closed at once, not when the garbage collector runs.

    Args:
        plan: Says what was used.
        permit: What the request paid.
        response: The response of requests.
    """

    def __init__(self, plan: Plan[Any, Any], permit: Any, response: Any) -> None:
        self._response, self._body = ref(response), ref(response.raw)
        self._make_response: Any = response.__class__
        self._kept: dict[str, Any] = {**response.__dict__, "raw": None}
        self._make = partial(Settlement[Any], plan, Blocking(), permit, self._response_now)
        self._encoding = response.headers.get("content-encoding", "")
        self._settlement: Settlement[Any] | None = None

    def begin(self) -> None:
        """Put itself in front of the methods of the body."""
        body: Any = self._body()
        kind = _watched(body.__class__)
        body._watches = {**getattr(body, "_watches", {}), kind: self}
        body.__class__ = kind

    def _response_now(self) -> Any:
        """Return the response; one like it if nobody has kept it, but only its body."""
        response = self._response()
        if response is None:
            response = self._make_response()
            response.__dict__.update(self._kept, raw=self._body())
        return response

    def take(self, data: bytes, *, decoded: bool) -> None:
        """Take a piece of the body."""
        self._settling(decoded=decoded).feed(data)

    def end(self) -> None:
        """Settle, now that the body has passed."""
        run(self._settling(decoded=True).end())

    def _settling(self, *, decoded: bool) -> Settlement[Any]:
        if self._settlement is None:  # the first read says whether it is decoded
            self._settlement = self._make("" if decoded else self._encoding)
        return self._settlement

    def read(
        self,
        body: Any,
        inner: Any,
        amt: int | None = None,
        decode_content: bool | None = None,
        **options: Any,
    ) -> bytes:
        """Read from a body, as do the methods below, by its own method `inner`."""
        with self._unless_broken():
            data: bytes = inner(amt, decode_content, **options)
        self.take(data, decoded=_decodes(body, decode_content))
        if amt is None or amt < 0 or (amt and not data):
            self.end()
        return data

    def read1(
        self,
        body: Any,
        inner: Any,
        amt: int | None = None,
        decode_content: bool | None = None,
    ) -> bytes:
        """Read a piece."""
        with self._unless_broken():
            data: bytes = inner(amt, decode_content)
        self.take(data, decoded=_decodes(body, decode_content))
        if amt != 0 and not data:  # without an amount it is one piece, not all
            self.end()
        return data

    def read_chunked(
        self,
        body: Any,
        inner: Any,
        amt: int | None = None,
        decode_content: bool | None = None,
    ) -> Iterator[bytes]:
        """Read chunks."""
        with self._unless_broken():
            for data in inner(amt, decode_content):
                self.take(data, decoded=_decodes(body, decode_content))
                yield data
        self.end()

    def stream(self, _: Any, inner: Any, *args: Any, **options: Any) -> Iterator[bytes]:
        """Read pieces to the end."""
        yield from inner(*args, **options)
        self.end()

    def close(self, inner: Any) -> None:
        """Close a body."""
        try:
            inner()
        finally:
            run(self._settling(decoded=True).cut())

    @contextmanager
    def _unless_broken(self) -> Generator[None]:
        """Leave the estimate as it is if the body does not arrive."""
        try:
            yield
        except GeneratorExit:
            raise  # left early: `close` comes next
        except BaseException:
            self._settling(decoded=True).give_up()
            raise


@lru_cache(maxsize=64)
def _watched(kind: Any) -> Any:
    """Return a class of bodies whose methods pass their watch; it looks like the given one."""

    class Watched(kind):  # type: ignore[misc]
        def read(self, *args: Any, **options: Any) -> Any:
            inner: Any = super()
            return self._watches[Watched].read(self, inner.read, *args, **options)

        def read1(self, *args: Any, **options: Any) -> Any:
            inner: Any = super()
            return self._watches[Watched].read1(self, inner.read1, *args, **options)

        def read_chunked(self, *args: Any, **options: Any) -> Any:
            inner: Any = super()
            return self._watches[Watched].read_chunked(self, inner.read_chunked, *args, **options)

        def stream(self, *args: Any, **options: Any) -> Any:
            inner: Any = super()
            return self._watches[Watched].stream(self, inner.stream, *args, **options)

        def close(self) -> None:
            inner: Any = super()
            self._watches[Watched].close(inner.close)

    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(Watched, name, getattr(kind, name))
    return Watched


def _decodes(body: Any, decode_content: bool | None) -> bool:
    return bool(body.decode_content if decode_content is None else decode_content)

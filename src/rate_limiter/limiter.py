"""What to do when tokens are missing: wait or refuse, around a block or a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, overload

from .absent import Absent
from .admission import Admission, Tokens, copied
from .base_bucket import BaseBucket
from .bucket import AsyncBucket, Bucket
from .calls import never
from .charges import Cost, charging
from .clock import Clock, timeout_nanoseconds
from .core import PermitFields, layout, twin
from .dry_run import REFUSALS, pretend, pretend_async
from .instrumentation.decisions import tell_admitted, tell_refused
from .instrumentation.events import WATCH
from .permit import NEW, AsyncPermit, Permit
from .rates import Number, shown
from .source import Source

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # whose default type checkers know; 3.13 has it in typing

    B_co = TypeVar("B_co", bound=BaseBucket, default=Bucket, covariant=True)
else:
    from typing import TypeVar

    B_co = TypeVar("B_co", bound=BaseBucket, covariant=True)

__all__ = ["AsyncPermit", "B_co", "Permit", "RateLimiter", "check_policy", "shown_policy"]

F = TypeVar("F")
_ONE = 1
_new: Any = PermitFields.__new__
_ASK = "ask its bucket: limiter.bucket.allow(tokens), or refuse with RateLimiter(block=False)"
_BUCKET = "that is its bucket's: limiter.bucket has it"
_WAIT = "it waits with limiter.acquire(tokens): 'with' it, 'async with' it or 'await' it"


@layout("limiter")
class RateLimiter(Generic[B_co]):
    """Say what happens when tokens are missing: wait for them, or refuse.

        limiter = RateLimiter(TokenBucket(capacity=10, tokens_per_second=5))

        with limiter.acquire(3):  # threads
            ...
        async with limiter.acquire(3):  # tasks
            ...
        with limiter:  # one token
            ...
        @limiter  # one token per call
        def fetch(): ...
        @limiter.cost(lambda ids: len(ids))  # from the call's own arguments
        def fetch_all(ids): ...

    Several limiters may share a bucket, for instance one that waits and one that refuses.

    Args:
        bucket: What holds the tokens.
        block: Whether to wait for missing tokens; if not, `RateLimitExceeded` is raised.
        timeout: The most seconds to wait; None waits as long as it takes.
        dry_run: Whether only to count: every call passes at once, and the bucket is charged as if
            the call had waited or had been refused.
        name: What events, logs and metrics call it; see `rate_limiter.instrumentation`. Events of
            a decorated function are under the function's qualified name if None.

    Raises:
        TypeError: `bucket` is no bucket, `block` or `dry_run` no bool, `timeout` no real number, or
            `name` no str.
        ValueError: `timeout` is NaN, or given together with `block=False`; or `name` is empty.
    """

    __slots__ = ("__weakref__", "_block", "_bucket", "_fast", "_permit", "_source", "_timeout")

    def __init__(
        self,
        bucket: B_co,
        *,
        block: bool = True,
        timeout: Number | None = None,
        dry_run: bool = False,
        name: str | None = None,
    ) -> None:
        if isinstance(bucket, type):
            raise TypeError(
                f"bucket must be a bucket, got the class {bucket.__name__}; make one of it, as in "
                "RateLimiter(TokenBucket(capacity=10, tokens_per_second=5))"
            )
        if not isinstance(bucket, BaseBucket):
            raise TypeError(
                f"bucket must be a TokenBucket or BucketGroup, got {shown(bucket)} "
                f"({type(bucket).__name__}); make one, as in RateLimiter(TokenBucket(10, 5)) or "
                "RateLimiter(TokenBucket.from_rate('10/second'))"
            )
        check_policy(block, timeout, dry_run)
        self._source = Source(name)
        self._bucket = bucket
        self._permit = AsyncPermit if bucket._core._awaited else Permit
        self._block = block
        self._timeout = timeout
        self._fast: Any = _NO_FAST_PATH if dry_run else bucket

    @property
    def bucket(self) -> B_co:
        """What holds the tokens."""
        return self._bucket

    @property
    def block(self) -> bool:
        """Whether missing tokens are waited for."""
        return self._block

    @property
    def timeout(self) -> Number | None:
        """The most seconds to wait, or None for no limit."""
        return self._timeout

    @property
    def dry_run(self) -> bool:
        """Whether calls are only counted."""
        return self._fast is _NO_FAST_PATH

    @property
    def name(self) -> str | None:
        """What events, logs and metrics call it; None if it has no name."""
        return self._source.name

    @overload
    def acquire(
        self: RateLimiter[Bucket],
        tokens: Tokens = 1,
        *,
        block: bool | None = None,
        timeout: Number | None = None,
    ) -> Permit: ...

    @overload
    def acquire(
        self: RateLimiter[AsyncBucket],
        tokens: Tokens = 1,
        *,
        block: bool | None = None,
        timeout: Number | None = None,
    ) -> AsyncPermit: ...

    # Its options may be given by position for the sake of time alone: see its overloads.
    @twin("acquire")
    def acquire(
        self, tokens: Tokens = 1, block: bool | None = None, timeout: Number | None = None
    ) -> Permit | AsyncPermit:
        """Prepare to take tokens; they are taken on entering `with`, `async with` or `await`.

        Args:
            tokens: How many to take.
            block: Whether to wait for missing ones; the limiter's own setting if None.
            timeout: The most seconds to wait; the limiter's own setting if None. Infinity waits
                as long as it takes.

        Returns:
            A permit, to be entered once.

        Raises:
            TypeError: An argument is of the wrong kind.
            ValueError: `tokens` is not positive and finite, or `timeout` is NaN, or given for a
                call that does not wait.
        """
        if tokens is not _ONE:
            tokens = copied(tokens)
            self._bucket._check(tokens)
        limiter = self if block is None and timeout is None else self._with(block, timeout)
        permit: Any = _new(self._permit)  # what its class would do, in less time
        permit._door = limiter
        permit._tokens = tokens
        permit._state = NEW
        made: Permit | AsyncPermit = permit
        return made

    def cost(self, tokens: Cost) -> Callable[[F], F]:
        """Make a decorator that charges each call this many tokens.

        Args:
            tokens: A number, or a callable that gets the call's arguments, `self` included unless
                it was bound before, and returns one. A call for which it returns 0 is free.

        Raises:
            CostExceedsCapacity: A number above the capacity, on a limiter that does not wait.
            TypeError: Neither a real number nor a callable.
            ValueError: A number that is not positive and finite.
        """
        return charging(self, tokens)

    def __call__(self, func: F) -> F:
        """Decorate `func`: one token per call."""
        return charging(self)(func)

    @twin("enter_limiter")
    def __enter__(self: RateLimiter[Bucket]) -> Permit:
        return self.acquire().__enter__()

    @staticmethod  # as of a permit
    @twin("leave")
    def __exit__(*_: object) -> None:
        pass

    @overload
    async def __aenter__(self: RateLimiter[Bucket]) -> Permit: ...

    @overload
    async def __aenter__(self: RateLimiter[AsyncBucket]) -> AsyncPermit: ...

    async def __aenter__(self) -> Permit | AsyncPermit:
        return await self._permit(self, 1)

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    def _move_to(self, clock: Clock) -> Any:
        return self._bucket._move_to(clock)

    def _move_back(self, state: Any) -> None:
        self._bucket._move_back(state)

    def __repr__(self) -> str:
        policy = shown_policy(self._block, self._timeout, self.dry_run, self.name)
        return f"{type(self).__name__}({self._bucket!r}, {policy})"

    def _check_payable(self, tokens: Tokens) -> None:
        """Raise for a cost that no call could ever pay."""
        self._bucket._check(tokens)
        if not self._block:
            self._bucket._check_fits(tokens)

    def _with(self, block: bool | None, timeout: Number | None) -> RateLimiter[B_co]:
        """Return a limiter over the same bucket, of the same name, with another policy."""
        block = self._block if block is None else block
        if timeout is None and block is True:
            timeout = self._timeout
        check_policy(block, timeout)
        limiter: Any = _new(RateLimiter)  # all but the policy is as it is here
        limiter._bucket, limiter._fast, limiter._permit = self._bucket, self._fast, self._permit
        limiter._block, limiter._timeout, limiter._source = block, timeout, self._source
        made: RateLimiter[B_co] = limiter
        return made

    def _admit(self, tokens: Tokens, source: Source | None = None) -> Admission:
        """Take tokens as the policy says. Every admission passes here, or the async twin of this.

        Only the fast paths of permits and of decorated functions ask the bucket itself first; see
        `_at_once` and `_taker`. Both are off while a hook is told of admissions.

        Args:
            tokens: How many to take.
            source: Whose events it causes; the limiter's own if None.
        """
        source = source or self._source
        if self._fast is _NO_FAST_PATH:
            return pretend(self._bucket, tokens, self._block, self._timeout, source)
        try:
            admission = self._bucket._admit(tokens, self._block, self._timeout, source)
        except REFUSALS as error:
            tell_refused("refused", source, tokens, error)
            raise
        if WATCH.admitted:
            tell_admitted(source, tokens, admission[0])
        return admission

    async def _admit_async(self, tokens: Tokens, source: Source | None = None) -> Admission:
        """Do as `_admit` from within a task."""
        source = source or self._source
        if self._fast is _NO_FAST_PATH:
            return await pretend_async(self._bucket, tokens, self._block, self._timeout, source)
        try:
            admission = await self._bucket._admit_async(tokens, self._block, self._timeout, source)
        except REFUSALS as error:
            tell_refused("refused", source, tokens, error)
            raise
        if WATCH.admitted:
            tell_admitted(source, tokens, admission[0])
        return admission

    def _admit_at_once(self, tokens: Tokens, source: Source | None = None) -> bool:
        """Do as `_admit` if the tokens are there; otherwise change nothing, and return False."""
        if self._fast is _NO_FAST_PATH:
            self._admit(tokens, source)
            return True
        try:
            self._bucket._admit(tokens, False, None)
        except REFUSALS:
            return False
        if WATCH.admitted:
            tell_admitted(source or self._source, tokens, 0.0)
        return True

    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        """Return a function that tries to take the tokens quickly; see `BaseBucket._taker`."""
        return never if self.dry_run else self._bucket._taker(tokens)

    if not TYPE_CHECKING:
        allow, try_consume = Absent(_ASK), Absent(_ASK)
        wait, wait_async = Absent(_WAIT), Absent(_WAIT)
        reserve, refund, pause, resume = (Absent(_BUCKET) for _ in range(4))
        configure, level, retry_after, available_tokens = (Absent(_BUCKET) for _ in range(4))


class _NoFastPath:
    """Stands for the bucket of a limiter that only counts."""

    __slots__ = ()

    def _at_once(self, tokens: Tokens) -> None:
        """Take nothing."""


_NO_FAST_PATH = _NoFastPath()


def check_policy(block: bool, timeout: Number | None, dry_run: bool = False) -> None:
    """Raise what `RateLimiter` raises for a policy that makes no sense."""
    for name, value in (("block", block), ("dry_run", dry_run)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {shown(value)}")
    timeout_nanoseconds(timeout)
    if timeout is not None and not block:
        raise ValueError(
            f"timeout={shown(timeout)} needs block=True; a call that refuses does not wait"
        )


def shown_policy(block: bool, timeout: Number | None, dry_run: bool, name: str | None) -> str:
    """Return a policy and a name as the repr of a limiter shows them."""
    policy = (f"timeout={timeout}" if block else "block=False") + ", dry_run=True" * dry_run
    return policy if name is None else f"{policy}, name={name!r}"

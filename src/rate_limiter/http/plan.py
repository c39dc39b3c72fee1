"""What a client was told to do with each request: whom to ask, for how much, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast

from ..admission import Tokens
from ..base_bucket import BaseBucket
from ..keyed import KeyedRateLimiter
from ..limiter import RateLimiter
from ..rates import Number, non_negative, shown
from .away import Away
from .costs import read_cost
from .functions import at_hand, check_functions, is_free
from .headers.reading import FORBIDDEN, asks_to_wait, retry_after

__all__ = ["Cost", "Key", "Limiter", "Plan", "Settle", "Verdict", "make_plan", "read_verdict"]

Request = TypeVar("Request")
Response = TypeVar("Response")

Limiter: TypeAlias = RateLimiter[Any] | KeyedRateLimiter[Any]
"""Whom to ask: one limiter for all requests, or one for each key."""
Key: TypeAlias = Callable[[Request], Hashable]
"""Gets a request, and returns what to look its limiter up by."""
Cost: TypeAlias = Tokens | Callable[[Request], Tokens]
"""Tokens, or a callable that gets a request and returns them; 0 of them make it free."""
Settle: TypeAlias = Callable[[Response, bytes], Number | Mapping[str, Any] | None]
"""Gets a response and the last bytes of its body, and returns what it used; None: as estimated."""


class Verdict(NamedTuple):
    """What a response says about a limit.

    Attributes:
        asked: How many seconds it asks everybody to wait; None if it does not.
        refused: Whether the server has not done the work, because of a limit.
    """

    asked: float | None
    refused: bool


def read_verdict(status: int, headers: Any) -> Verdict:
    """Read what a response says about a limit."""
    asked = retry_after(status, headers)
    forbidden = status == FORBIDDEN and asked is not None
    return Verdict(asked, forbidden or asks_to_wait(status))


@dataclass(frozen=True, slots=True)
class Plan(Generic[Request, Response]):
    """What a client was told, once it has been checked; see `make_plan`."""

    limiter: Limiter
    key: Key[Request] | None
    cost: Cost[Request]
    settle: Settle[Response] | None
    max_pause: float
    retries: int
    away: Away = field(default_factory=partial(Away, "what responses say is not noted"))

    def bill(self, request: Request) -> tuple[RateLimiter[Any], Tokens | None]:
        """Return whom a request asks and for how many tokens; None if it is free.

        Raises:
            Exception: What the key or the cost function raises.
            TypeError: What one of them returned is to be awaited.
        """
        tokens: Any = self.cost
        if callable(tokens):
            tokens = at_hand("cost", tokens(request))
            if tokens is None:
                raise TypeError("cost must return tokens, got None; 0 makes a request free")
            tokens = None if is_free(tokens) else tokens
        limiter: Any = self.limiter
        if self.key is not None:
            limiter = limiter[at_hand("key", self.key(request))]
        return limiter, tokens

    def pause_after(self, verdict: Verdict) -> float | None:
        """Return how long a response stops everybody, in seconds; None if it does not."""
        return None if verdict.asked is None else min(verdict.asked, self.max_pause)

    def retry_in(
        self, verdict: Verdict, limiter: RateLimiter[Any], unless_told: float
    ) -> float | None:
        """Return how long to wait before a request that was answered so is sent again.

        It is sent again if it was refused, and the limiter would wait for that long.

        Args:
            verdict: What the response says.
            limiter: Whom the request has asked.
            unless_told: What to wait if the response asks for no time.

        Returns:
            Seconds; None if it is not worth another attempt.
        """
        if not verdict.refused or not limiter.block or limiter.dry_run:
            return None
        wait = verdict.asked or min(unless_told, self.max_pause)
        longest = self.max_pause if limiter.timeout is None else limiter.timeout
        return wait if wait <= min(longest, self.max_pause) else None

    def used(self, response: Response, tail: bytes) -> Number | Mapping[str, Any] | None:
        """Return what a response says it has used; None if it does not say so.

        Raises:
            Exception: What the settle function raises.
            TypeError: What it returned is to be awaited.
        """
        assert self.settle is not None
        used = at_hand("settle", self.settle(response, tail))
        if not isinstance(used, Mapping):
            return used  # type: ignore[no-any-return]
        amounts = cast(Mapping[str, Any], used)
        return {name: amount for name, amount in amounts.items() if amount is not None} or None


def make_plan(
    limiter: Any,
    *,
    key: Any,
    default_key: Key[Request],
    cost: Any,
    settle: Any,
    max_pause: Any,
    retries: Any,
) -> Plan[Request, Any]:
    """Check what a client was told.

    Args:
        limiter: A `RateLimiter` or a `KeyedRateLimiter`.
        key: As `Key`; None takes the default.
        default_key: The key of a request unless another is given.
        cost: As `Cost`.
        settle: As `Settle`, or None.
        max_pause: The longest pause in seconds.
        retries: How often a request may be sent again.

    Raises:
        CostExceedsCapacity: No request could ever pay this number, and the limiter does not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of range, or `retries` are given for a limiter that refuses.
    """
    keyed = isinstance(limiter, KeyedRateLimiter)
    _check_limiter(limiter, keyed, key)
    check_functions(awaits=False, key=key, settle=settle)
    cost = read_cost(cost, limiter, awaits=False)
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise TypeError(f"retries must be an int, got {shown(retries)}")
    if retries < 0:
        raise ValueError(f"retries must be 0 or more, got {shown(retries)}")
    if retries and not limiter.block:
        raise ValueError(
            f"retries={retries} needs a limiter that waits, made with block=True; this one would "
            "refuse the request when it is sent again"
        )
    longest = float(non_negative(max_pause, "max_pause"))
    return Plan(limiter, (key or default_key) if keyed else None, cost, settle, longest, retries)


def _check_limiter(limiter: Any, keyed: bool, key: Any) -> None:
    if isinstance(limiter, BaseBucket):
        raise TypeError(
            f"limiter must be a RateLimiter: write RateLimiter({type(limiter).__name__}(...))"
        )
    if not keyed and not isinstance(limiter, RateLimiter):
        raise TypeError(
            "limiter must be a RateLimiter or a KeyedRateLimiter, such as "
            "KeyedRateLimiter.from_rate('10/second'), "
            f"got {shown(limiter)} ({type(limiter).__name__})"
        )
    if key is not None and not keyed:
        raise TypeError("key needs a KeyedRateLimiter; a RateLimiter is one limit for all requests")

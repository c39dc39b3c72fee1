"""What a service does with a request, whichever interface it comes by: ask, and answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from ..admission import Tokens
from ..exceptions import BackendError, CostExceedsCapacity, Label, RateLimitExceeded
from ..level import Level
from ..permit import AsyncPermit, Permit
from ..rates import shown
from ..token_bucket import TokenBucket
from .away import Away
from .costs import read_cost
from .functions import AT_HAND, at_hand, awaited, check_functions, is_free
from .given import Limiters, check_limiters, check_name, check_switch, finder
from .headers.writing import (
    legacy_fields,
    policy_name,
    rate_limit,
    rate_limit_policy,
    whole_seconds,
)
from .problems import MakeBody, Problem, body_of, quota_exceeded, unavailable
from .refunds import given_back

__all__ = ["Answer", "Fields", "Service"]

Fields: TypeAlias = list[tuple[str, str]]
"""Header fields: names and values."""

_TURNED_AWAY = (RateLimitExceeded, CostExceedsCapacity, BackendError)


class Answer(NamedTuple):
    """What a client that is turned away is told."""

    status: int
    fields: Fields
    body: bytes


class Service:
    """What a service asks of its limiters, and what it answers.

    Args:
        awaits: Whether requests are served by tasks, where a key and a cost may be awaited.

    The other arguments are those of `asgi.RateLimitMiddleware`; what their functions get is the
    request, in whatever form the interface has it.

    Raises:
        CostExceedsCapacity: No request could ever pay `cost`, and the limiters do not wait.
        TypeError: An argument is of the wrong kind.
        ValueError: The limiters wait and `block` does not say so, or the other way round; or `name`
            is not printable ASCII, or `cost` not above 0.
    """

    def __init__(
        self,
        limiters: Limiters,
        *,
        key: Callable[[Any], Any],
        awaits: bool,
        cost: Tokens | Callable[[Any], Any] = 1,
        count: Callable[[int], bool] | None = None,
        name: str = "default",
        legacy_headers: bool = False,
        body: MakeBody | None = None,
        block: bool = False,
        dry_run: bool = False,
    ) -> None:
        check_limiters(limiters, block=block)
        check_switch("legacy_headers", legacy_headers)
        check_functions(awaits=awaits, key=key)
        check_functions(awaits=False, count=count, body=body)
        self._limiter_of = finder(limiters, dry_run=dry_run)
        self._dry_run = dry_run or limiters.dry_run
        self._key = key
        self._cost = read_cost(cost, limiters, awaits=awaits)
        self._computed = callable(cost)
        self._count: Any = count
        self._name = check_name(name)
        self._legacy = legacy_headers
        self._make_body = body
        self._away = Away("requests cannot be limited")

    @property
    def counts_some(self) -> bool:
        """Whether the status of an answer decides whether its request counts."""
        return self._count is not None

    def decide(self, request: Any) -> Permit | Answer | None:
        """Ask for the tokens of a request: once, and nobody looks a second time.

        Returns:
            The permit of a request that may go on, the answer to one that may not; None for one
            that is not limited.
        """
        key = at_hand("key", self._key(request))
        if key is None:
            return None
        cost = at_hand("cost", self._cost(request)) if self._computed else self._cost
        if cost is not self._cost and is_free(cost):
            return None
        try:
            with self._limiter_of(key).acquire(cost) as permit:
                pass
        except _TURNED_AWAY as error:
            return self._turn_away(request, error)
        self._away.answered()
        return permit

    async def decide_async(self, request: Any) -> Permit | AsyncPermit | Answer | None:
        """Do what `decide` does, from within a task."""
        key = self._key(request)
        if key.__class__ not in AT_HAND:
            key = await awaited("key", key)
        if key is None:
            return None
        cost = await awaited("cost", self._cost(request)) if self._computed else self._cost
        if cost is not self._cost and is_free(cost):
            return None
        try:
            limiter = self._limiter_of(key)
            if limiter.bucket.__class__ is TokenBucket and not limiter.block:
                return limiter.acquire(cost).__enter__()  # in memory, where nothing is awaited
            permit: Permit | AsyncPermit = await limiter.acquire(cost)
        except _TURNED_AWAY as error:
            return self._turn_away(request, error)
        self._away.answered()
        return permit

    def fields(self, permit: Permit | AsyncPermit, *, refunded: bool = False) -> Fields:
        """Return the header fields of an answer to a request that was admitted.

        Args:
            permit: Its permit.
            refunded: Whether its tokens have been given back since.
        """
        levels = permit.levels
        if refunded:
            levels = given_back(levels, permit.tokens)
        return self._level_fields(levels)

    def counts(self, status: int) -> bool:
        """Tell whether a request that got this status counts, where only some do.

        Raises:
            TypeError: `count` returned no bool; if it forgot to, nothing would ever count.
        """
        counted = at_hand("count", self._count(status))
        if not isinstance(counted, bool):
            raise TypeError(f"count must return True or False, got {shown(counted)}")
        return counted

    def give_back(self, permit: Permit) -> None:
        """Give back the tokens of a request that does not count.

        If the store fails meanwhile they stay charged: that is no reason to fail the request.
        """
        try:
            permit.refund()
        except BackendError as error:
            self._away.failed(error)

    async def give_back_async(self, permit: Permit | AsyncPermit) -> None:
        """Do what `give_back` does, from within a task."""
        try:
            await permit.refund_async()
        except BackendError as error:
            self._away.failed(error)

    def _level_fields(
        self,
        levels: Mapping[Label, Level],
        refused_by: Label = None,
        retry_after: int | None = None,
    ) -> Fields:
        """Return the fields that tell what is left.

        There are none in a dry run, for clients that heed them would be held up; and none where
        it is not known what is left, as while a fallback decides.
        """
        if not levels or self._dry_run:
            return []
        told = rate_limit(levels, self._name, refused_by=refused_by, retry_after=retry_after)
        fields = [
            ("RateLimit", told),
            ("RateLimit-Policy", rate_limit_policy(levels, self._name)),
        ]
        if self._legacy:
            fields += legacy_fields(levels, refused_by=refused_by, retry_after=retry_after)
        return fields

    def _turn_away(self, request: Any, error: Any) -> Answer | None:
        """Return what to answer when there is no permit; None in a dry run."""
        if isinstance(error, BackendError):
            self._away.failed(error)
        else:
            self._away.answered()
        if self._dry_run:
            return None
        if isinstance(error, BackendError):
            return self._answer(request, unavailable(), [])
        retry_after = None  # no time helps
        fields: Fields = []
        if isinstance(error, RateLimitExceeded):
            retry_after = whole_seconds(error.retry_after)
            fields = [("Retry-After", str(retry_after))]
        fields += self._level_fields(error.levels, error.refused_by, retry_after)
        policy = policy_name(error.refused_by, self._name)
        return self._answer(request, quota_exceeded(policy, retry_after), fields)

    def _answer(self, request: Any, problem: Problem, fields: Fields) -> Answer:
        content_type, body = body_of(request, problem, self._make_body)
        length = ("Content-Length", str(len(body)))
        return Answer(problem["status"], [("Content-Type", content_type), length, *fields], body)

"""What a limiter asks of a bucket, of whatever kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from .admission import Admission, Tokens
from .clock import Clock
from .exceptions import CostExceedsCapacity, Label, RateLimitExceeded
from .rates import Number, shown
from .source import Source

__all__ = ["BaseBucket"]


class BaseBucket(ABC):
    """What a limiter asks of a bucket."""

    __slots__ = ("__weakref__", "_now")

    _now: Callable[[], int]  # nanoseconds
    _awaited: ClassVar[bool] = False  # whether its answers are awaited
    _stored: ClassVar[bool] = False  # whether its tokens are kept on a server, under a name
    _labels: Sequence[Label] = (None,)  # the labels of its buckets

    @property
    def _core(self) -> Any:
        """The object that decides for it: itself, unless it is a `BucketGroup`."""
        return self

    @property
    def clock(self) -> Clock:
        """What it reads the time from, and what its callers sleep on."""
        clock: Clock = self._core._clock
        return clock

    @property
    @abstractmethod
    def capacity(self) -> float:
        """The most tokens it holds."""

    @property
    @abstractmethod
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""

    @abstractmethod
    def _check(self, tokens: Tokens) -> None:
        """Raise what every call that takes tokens raises for a cost that is none."""

    @abstractmethod
    def _check_fits(self, tokens: Tokens) -> None:
        """Refuse a cost above the capacity.

        Raises:
            CostExceedsCapacity: It is above the capacity.
        """

    def _at_once(self, tokens: Tokens) -> Any:
        """Take tokens on the fast path, if there is one, without waiting.

        Returns:
            What the bucket is like then; see `Payer._levels`. None: use the slow path; it does not
            mean that the tokens are missing.
        """
        return None

    @abstractmethod
    def _admit(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        """Take tokens, and wait for them or refuse, as a limiter says.

        Args:
            tokens: How many.
            block: Whether to wait.
            timeout: The most seconds to wait.
            source: Whose wait it is, for `instrumentation.waits.waiting`; None for nobody's.

        Raises:
            CostExceedsCapacity: They never fit at once, and `block` is False.
            RateLimitExceeded: They are not there now, or not within `timeout`.
        """

    @abstractmethod
    async def _admit_async(
        self, tokens: Tokens, block: bool, timeout: Number | None, source: Source | None = None
    ) -> Admission:
        """Do as `_admit` from within a task."""

    @abstractmethod
    def _taker(self, tokens: Tokens) -> Callable[[], bool]:
        """Return a function that tries to take the tokens quickly.

        It returns True if it has taken them. False means that the caller must take the slow path,
        not that the tokens are missing.
        """

    @abstractmethod
    def _uses(self, actual: Tokens, taken: Tokens) -> Any:
        """Return what was used in each ledger or limit that `actual` names, or refuse it.

        Args:
            actual: What was used.
            taken: What had been taken for it.
        """

    @abstractmethod
    def _full_in(self) -> int:
        """Return the nanoseconds until the bucket is full and nobody waits.

        From then on it cannot be told from a new bucket.
        """

    @abstractmethod
    def _reset(self) -> Any:
        """Fill the bucket and empty its line; to be awaited, if its answers are."""

    @abstractmethod
    def _twin(self) -> BaseBucket:
        """Return another handle to the same tokens and the same line."""

    @abstractmethod
    def _move_to(self, clock: Clock) -> Any:
        """Begin anew on another clock, full; return what `_move_back` needs."""

    @abstractmethod
    def _move_back(self, state: Any) -> None:
        """Go on as before `_move_to`."""

    @abstractmethod
    def _join(self, unnamed: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        """Return the object that decides for a group of such buckets in one step."""

    def _never(
        self,
        tokens: Tokens,
        capacity: float,
        label: Label = None,
        levels: Any = None,
        *,
        strict: bool = False,
    ) -> Exception:
        """Return the error for a cost that can never be paid, or not without waiting."""
        of_bucket = "" if label is None else f" of bucket {label!r}"
        remedy = "lower the cost, raise the capacity, or wait for the tokens with block=True"
        if strict:
            remedy = (
                "lower the cost or raise the capacity; waiting for it would break a strict rate"
            )
        return CostExceedsCapacity(
            f"a cost of {shown(tokens)} is above the capacity of {capacity:g}{of_bucket}; {remedy}",
            tokens=tokens,
            refused_by=label,
            levels=levels,
        )

    def _not_yet(
        self,
        tokens: Tokens,
        delay: float,
        label: Label = None,
        levels: Any = None,
        timeout: Number | None = None,
    ) -> Exception:
        """Return the error for a cost that can be paid only later, or later than a timeout."""
        of_bucket = "" if label is None else f"; it is held up by bucket {label!r}"
        late = "" if timeout is None else f", but the timeout is {timeout} s"
        return RateLimitExceeded(
            f"rate limit exceeded: a cost of {shown(tokens)} can be paid in {delay:.6g} s"
            f"{late}{of_bucket}",
            retry_after=delay,
            tokens=tokens,
            refused_by=label,
            levels=levels,
        )

    if not TYPE_CHECKING:  # for common mistakes: say what to write instead

        def _is_no_limiter(self, *_: Any, **__: Any) -> NoReturn:
            raise TypeError(
                f"a {type(self).__name__} only holds tokens; limit a block with "
                "'with RateLimiter(bucket).acquire():' and a function with '@RateLimiter(bucket)'"
            )

        __call__ = __enter__ = __exit__ = __aenter__ = __aexit__ = _is_no_limiter

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a live {type(self).__name__} cannot be pickled or copied: the copy would be a second "
            "limit; share it by reference, and make one in each process"
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.__reduce__()

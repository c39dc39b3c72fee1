"""Count what a limiter would have done, and let every call pass."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic_ns
from typing import Any

from .admission import REFUNDED, Admission, Receipt, Tokens
from .exceptions import BackendError, CostExceedsCapacity, RateLimitExceeded
from .instrumentation.decisions import tell_admitted, tell_refused
from .instrumentation.events import WATCH, tell
from .instrumentation.guard import LOG, apart, may_warn
from .level import Levels
from .rates import Number
from .source import Source
from .uncounted import Uncounted

__all__ = ["REFUSALS", "pretend", "pretend_async"]

REFUSALS = (RateLimitExceeded, CostExceedsCapacity)
# Calls that would wait and are kept in line. Nobody is held up, so that otherwise a line would grow
# for as long as more is asked for than comes in.
_MOST_IN_LINE = 1_000


def pretend(
    bucket: Any, tokens: Tokens, block: bool, timeout: Number | None, source: Source
) -> Admission:
    """Count a call as the policy would, and let it pass at once.

    A call that would have waited takes its place in line, and its tokens when it would have had
    them; one that would have been refused takes nothing, nor does one behind a thousand others. One
    that cannot be counted, because the store is away, passes as well.
    """
    try:
        admission = _pretend(bucket, tokens, block, timeout)
    except BackendError as error:
        return _uncounted(bucket, error, source)
    return _told(admission, tokens, source)


async def pretend_async(
    bucket: Any, tokens: Tokens, block: bool, timeout: Number | None, source: Source
) -> Admission:
    """Do as `pretend` from within a task."""
    try:
        admission = await _pretend_async(bucket, tokens, block, timeout)
    except BackendError as error:
        return _uncounted(bucket, error, source)
    return _told(admission, tokens, source)


def _pretend(bucket: Any, tokens: Tokens, block: bool, timeout: Number | None) -> Admission:
    try:
        return bucket._admit(tokens, False, None)  # type: ignore[no-any-return]
    except REFUSALS as error:
        refusal = _bare(error)
    payer = _beyond(bucket, refusal, block, timeout)
    try:
        payer = payer or _InLine(bucket.reserve(tokens, timeout), refusal)
    except REFUSALS as error:
        refusal = _bare(error)
    except ValueError:  # it would wait for more than a century
        pass
    return 0.0, payer or _Refused(bucket, refusal), None


async def _pretend_async(
    bucket: Any, tokens: Tokens, block: bool, timeout: Number | None
) -> Admission:
    try:
        return await bucket._admit_async(tokens, False, None)  # type: ignore[no-any-return]
    except REFUSALS as error:
        refusal = _bare(error)
    payer = _beyond(bucket, refusal, block, timeout)
    try:
        if payer is None:
            reserved = bucket.reserve(tokens, timeout)
            if bucket._core._awaited:
                reserved = await reserved
            payer = _InLine(reserved, refusal)
    except REFUSALS as error:
        refusal = _bare(error)
    except ValueError:  # it would wait for more than a century
        pass
    return 0.0, payer or _Refused(bucket, refusal), None


def _beyond(bucket: Any, refusal: Any, block: bool, timeout: Number | None) -> Any:
    """Return what pays for a call that is not to stand in line; None if it is to."""
    if not block:
        return _Refused(bucket, refusal)
    if max(level.waiting or 0 for level in refusal.levels.values()) < _MOST_IN_LINE:
        return None
    delay = _delay_of(refusal)
    too_late = timeout is not None and delay is not None and delay > timeout
    return (_Refused if too_late else _Crowded)(bucket, refusal)


def _delay_of(refusal: Any) -> float | None:
    """Return the seconds until a call could be admitted; a cost above the capacity never is."""
    delay: float | None = getattr(refusal, "retry_after", None)
    return delay


def _uncounted(bucket: Any, error: BackendError, source: Source) -> Admission:
    """Let a call pass that could not be counted; the log says so, at most once a minute."""
    if may_warn(source, monotonic_ns()):
        apart(_warn, source.name or "without a name", str(error))
    return 0.0, Uncounted(bucket._uses), None


def _warn(name: str, error: str) -> None:
    with suppress(Exception):  # a filter or handler that raises must not reach the caller
        LOG.warning("limiter %s, a dry run, lets calls pass uncounted: %s", name, error)


def _bare(refusal: Any) -> Any:
    """Return a refusal without its traceback, which would keep the callers' frames alive."""
    return refusal.with_traceback(None)


def _told(admission: Admission, tokens: Tokens, source: Source) -> Admission:
    """Tell the hooks what would have happened to a call."""
    payer = admission[1]
    if isinstance(payer, _Crowded | _InLine):
        if WATCH.hooks:
            tell("would_wait", source.name, tokens, payer.delay, payer._refusal.refused_by)
    elif isinstance(payer, _Refused):
        tell_refused("would_refuse", source, tokens, payer._refusal)
    elif WATCH.admitted:
        tell_admitted(source, tokens, 0.0)
    return admission


class _Refused(Uncounted):
    """Pays for a call that would have been refused: nothing."""

    def __init__(self, bucket: Any, refusal: Any) -> None:
        super().__init__(bucket._uses)
        self._refusal = refusal

    def _levels(self, after: Any) -> Levels:
        levels: Levels = self._refusal.levels
        return levels


class _Crowded(_Refused):
    """Pays for a call that would have waited behind very many: nothing."""

    @property
    def delay(self) -> float | None:
        """How long the call would have waited, in seconds; None if that is not known."""
        return _delay_of(self._refusal)


class _InLine:
    """Pays for a call that would have waited: its place in line."""

    def __init__(self, reservation: Any, refusal: Any) -> None:
        self._reservation = reservation
        self._refusal = refusal

    @property
    def delay(self) -> float:
        """How long the call would have waited, in seconds."""
        return float(self._reservation.delay)

    def _levels(self, after: Any) -> Levels:
        levels: Levels = self._refusal.levels
        return levels

    def _settle(self, receipt: Receipt, actual: Tokens) -> bool:
        if receipt._paid is not REFUNDED:
            self._reservation.settle(actual)
        return receipt._paid is not REFUNDED

    async def _settle_async(self, receipt: Receipt, actual: Tokens) -> bool:
        if receipt._paid is not REFUNDED:
            settled = self._reservation.settle(actual)
            if settled is not None:
                await settled
        return receipt._paid is not REFUNDED

    def _give_back(self, receipt: Receipt) -> None:
        receipt._paid = REFUNDED
        self._reservation.cancel()

    async def _give_back_async(self, receipt: Receipt) -> None:
        receipt._paid = REFUNDED
        cancelled = self._reservation.cancel()
        if cancelled is not None:
            await cancelled

"""The whole algorithm: one integer that says when the bucket will be full again.

At `r` tokens per second a token is worth `1/r` seconds, so a bucket that lacks three tokens is a
bucket that will be full in `3/r` seconds. That instant, `full_at`, is all there is to remember:
nothing is refilled, nothing drifts. Taking tokens moves it later, refunding moves it earlier, and
time passing does the rest. This is the virtual scheduling form of the generic cell rate algorithm
(ITU-T I.371, annex A), kept in integers so that no comparison needs a tolerance.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from copy import copy
from fractions import Fraction
from threading import RLock
from typing import ParamSpec, TypeVar

from ..clock import NANO
from ..rates import Number, non_negative, positive, positive_float

__all__ = ["RETIRED", "Ledger", "exclusive"]

# A token divides exactly by 2 to 10, 60, 3600 and 10**12: the costs people write have no remainder.
_TOKEN = 63 * 10**12

# One lock for every ledger and every line. It is held for a few integer operations and never across
# a wait, so sharing it costs next to nothing, and it makes things simple: a fork takes it once, so
# that no child inherits it held (P20); several buckets move as one, and nobody ever holds one lock
# and waits for another (P7); a bucket stays small. It is re-entrant because a signal handler can
# run while its own thread holds it (P19).
_LOCK = RLock()

if hasattr(os, "register_at_fork"):  # pragma: no branch - where there is no fork there is no hazard
    os.register_at_fork(
        before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
    )


# Where a ledger stands when another has taken over: who still has it in hand is refused.
RETIRED = 1 << 8192

P = ParamSpec("P")
T = TypeVar("T")


def exclusive(step: Callable[P, T]) -> Callable[P, T]:
    """Let one thread at a time run any of the functions decorated with this.

    A signal handler or finalizer that interrupts one of them may run another.
    """

    @functools.wraps(step)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            _LOCK.acquire()
            result = step(*args, **kwargs)
            _LOCK.release()
        except BaseException:
            # An interrupt may come before the lock is taken, and after it is released.
            if _LOCK._is_owned():  # type: ignore[attr-defined]
                _LOCK.release()
            raise
        return result

    return run


class Ledger:
    """Count the tokens of one bucket; the terms are fixed, only `full_at` moves.

    Tokens and instants are both integers in clock units: `unit` of them make a token and `scale` of
    them a nanosecond, so that `scale / unit` is the rate in tokens per nanosecond, exactly.

    Args:
        capacity: The most tokens the bucket holds.
        tokens_per_second: How fast they come back.
    """

    __slots__ = ("full_at", "scale", "span", "unit")

    def __init__(self, capacity: Fraction, tokens_per_second: Fraction) -> None:
        self.unit, self.scale, self.span = _terms(capacity, tokens_per_second)
        self.full_at = 0

    def renewed(self, now: int) -> Ledger:
        """Return a ledger on the same terms that is full at the instant `now`, in nanoseconds."""
        ledger = copy(self)
        ledger.full_at = now * self.scale
        return ledger

    @property
    def capacity(self) -> float:
        """The most tokens the bucket holds."""
        return self.span / self.unit

    @property
    def tokens_per_second(self) -> float:
        """How fast tokens come back."""
        return self.scale * NANO / self.unit

    def cost(self, tokens: Number) -> int:
        """Convert tokens to clock units, rounded down so that what divides a capacity fits (P2).

        It is never none: nothing is free.

        Raises:
            TypeError: It is not a real number.
            ValueError: It is not positive and finite.
        """
        if type(tokens) is int and 0 < tokens < 2**53:
            return tokens * self.unit
        read = positive_float if type(tokens) is float else positive
        number = read(tokens, "tokens")
        return number.numerator * self.unit // number.denominator or 1

    def amount(self, tokens: Number) -> int:
        """Convert tokens as `cost` does, of which there may be none.

        Raises:
            TypeError: It is not a real number.
            ValueError: It is negative, NaN or infinite.
        """
        return self.cost(tokens) if non_negative(tokens, "tokens") else 0

    def charge(self, cost: int, floor: int, latest: int) -> int:
        """Add `cost` to the later of `full_at` and `floor`, unless that is later than `latest`.

        This is how tokens that are there now are taken; a cost counts from now at the earliest.

        Args:
            cost: Clock units to add.
            floor: The earliest instant to count from, in clock units.
            latest: The last instant from which the charge is accepted, in clock units.

        Returns:
            The instant counted from; later than `latest` means refused, and nothing has changed.
        """
        try:
            _LOCK.acquire()
            # Read, decide and write on one line that calls nothing: neither a signal handler nor a
            # finalizer nor a tracer can come in between, and all of them may use this ledger (P19).
            self.full_at = start + cost if (start := full if (full := self.full_at) > floor else floor) <= latest else full  # fmt: skip  # noqa: E501
            _LOCK.release()
        except BaseException:
            # An interrupt may come before the lock is taken, and after it is released.
            if _LOCK._is_owned():  # type: ignore[attr-defined]
                _LOCK.release()
            raise
        return start

    def level(self, now: int) -> int:
        """Return what is in the bucket at the instant `now`, in clock units; below zero is debt."""
        return self.span - max(self.full_at - now, 0)


@functools.lru_cache(maxsize=256)  # the many buckets of one limit share these numbers
def _terms(capacity: Fraction, tokens_per_second: Fraction) -> tuple[int, int, int]:
    """Return the clock units in a token, in a nanosecond, and in a full bucket."""
    per_nanosecond = tokens_per_second / NANO
    unit = math.lcm(_TOKEN, capacity.denominator, per_nanosecond.denominator)
    return unit, int(per_nanosecond * unit), int(capacity * unit)

"""How many tokens a process takes from a store at once, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..clock import NANO, nanoseconds
from ..rates import Number, positive, shown
from .terms import Terms

__all__ = ["Lease"]


@dataclass(frozen=True, slots=True)
class Lease:
    """How many tokens a process takes from a store at once, and for how long.

        RedisTokenBucket(client, "api", 1000, 500, lease=Lease(tokens=50, seconds=0.5))

    Calls that do not wait are then decided in this process, until the tokens are used or the time
    is over; what is left is given back at that time. Meanwhile the process may not have heard of a
    pause, a refund or a line. Callers that wait ask the store, as ever.

    Args:
        tokens: How many tokens to take at once; at most the capacity.
        seconds: How long they may be spent; at most what the bucket takes to fill.

    Raises:
        TypeError: An argument is not a real number.
        ValueError: An argument is not positive and finite.
    """

    tokens: Number
    seconds: Number

    def __post_init__(self) -> None:
        positive(self.tokens, "tokens")
        positive(self.seconds, "seconds")
        nanoseconds(self.seconds)

    def check_fits(self, terms: Terms) -> None:
        """Refuse a lease that a bucket of these terms cannot give.

        Raises:
            ValueError: It is larger than the capacity, or longer than the bucket takes to fill.
        """
        if terms.cost(self.tokens) > terms.span:
            raise ValueError(
                f"a lease must be at most the capacity of {float(terms.capacity):g} tokens, "
                f"got {shown(self.tokens)}"
            )
        longest = terms.capacity / terms.tokens_per_second
        if Fraction(nanoseconds(self.seconds), NANO) > longest:
            raise ValueError(
                f"a lease must last at most the {float(longest):g} seconds that the bucket takes "
                f"to fill, got {shown(self.seconds)}"
            )

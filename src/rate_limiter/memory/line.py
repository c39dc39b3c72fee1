"""What a line of waiters is made of: lines, places in them, and who stands there.

An interrupt may come between two lines of code; hence amounts that belong together change on one,
which calls nothing (P19). All of it runs under `ledger.exclusive`.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from fractions import Fraction

from ..sleeping import Sleeper
from .ledger import RETIRED, Ledger

__all__ = ["HOLD", "LONG_AGO", "Line", "Place", "Waiter", "next_number"]

# Charged on top of the price of a place whose time depends on other lines too, so that no newcomer
# passes it: its bucket may seem to have tokens to spare, for only its grant says when they go.
HOLD = 1 << 4096
LONG_AGO = -HOLD
_numbers = itertools.count()


def next_number() -> int:
    """Return a number that is larger than any before: an order, or a version."""
    return next(_numbers)


class Line:
    """The ledger of a bucket, and who waits for it."""

    __slots__ = ("booked", "ledger", "left", "places", "tail")

    changes = 0  # how often anybody left or an amount changed: what was planned before is void

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.places: OrderedDict[Place, None] = OrderedDict()
        self.booked = 0  # what its places are charged, in clock units
        self.left = LONG_AGO  # no grant is earlier, in nanoseconds: the last one, the last change
        # Behind all its places, if any is held: base, last grant, and `changes` when planned.
        self.tail: tuple[int, int, int] = (0, 0, -1)

    @property
    def base(self) -> int:
        """When the bucket would be full if nobody waited, in clock units."""
        return self.ledger.full_at - self.booked

    @property
    def first(self) -> Place | None:
        """The place at its head."""
        return next(iter(self.places), None)

    def due(self, base: int, price: int) -> int:
        """Return the nanosecond at which `price`, counted from `base`, has accrued."""
        return -((self.ledger.span - base - price) // self.ledger.scale)

    def charged(self, base: int, price: int, due: int) -> int:
        """Return the base after a grant at `due`; a bucket that had to wait overflows."""
        if self.due(base, price) == due:
            return base + price
        ledger = self.ledger
        return max(base + price, due * ledger.scale + min(price, ledger.span))

    def correct(self, extra: int, now: int) -> None:
        """Charge more for what has been taken, or if it is negative, give back."""
        if extra > 0:
            self.charge(extra, now)
        else:
            self.refund(-extra, now)

    def charge(self, amount: int, now: int) -> None:
        """Charge what was taken beyond what was asked for; the whole line waits it out."""
        Line.changes = next_number()
        ledger, floor = self.ledger, self._floor(now)
        ledger.full_at = (base if (base := ledger.full_at - self.booked) > floor else floor) + amount + self.booked  # fmt: skip  # noqa: E501

    def refund(self, amount: int, now: int) -> None:
        """Give back what was taken; what would overflow the bucket is lost."""
        self.change(now)
        ledger, floor = self.ledger, now * self.ledger.scale
        ledger.full_at = full if (base := (full := ledger.full_at) - self.booked) <= floor else (base - amount if base - amount > floor else floor) + self.booked  # fmt: skip  # noqa: E501, FURB136

    def bar(self, instant: int) -> None:
        """Have the bucket full at `instant`, in clock units, at the earliest."""
        Line.changes = next_number()
        ledger = self.ledger
        ledger.full_at = full if (full := ledger.full_at) - self.booked > instant else instant + self.booked  # fmt: skip  # noqa: E501

    def change(self, now: int) -> None:
        """Note that what is ahead of somebody changes; what follows from it is no earlier."""
        Line.changes = next_number()
        self.left = max(self.left, now)

    def restate(self, ledger: Ledger, now: int) -> None:
        """Go on with another ledger: the tokens, the debt and the line stay as they are."""
        old, places = self.ledger, list(self.places)
        missing = max(self.base, self._floor(now)) - now * old.scale
        level = old.span - missing
        base = now * ledger.scale + ledger.span - level * ledger.unit // old.unit
        prices = [round(Fraction(place.price * ledger.unit, old.unit)) for place in places]
        for place, price in zip(places, prices, strict=True):
            self.booked += price - place.price
            place.booked += price - place.price
            place.price, place.unit = price, ledger.unit
        ledger.full_at = (base if places else max(base, now * ledger.scale)) + self.booked
        self.ledger = ledger
        self.change(now)
        old.full_at = RETIRED

    def _floor(self, now: int) -> int:
        """Return the earliest base to charge from: now, unless its head outgrows the bucket."""
        first = self.first
        alone = first is not None and len(first.waiter.places) == 1
        return LONG_AGO if alone else now * self.ledger.scale


class Place:
    """Where a waiter stands in one line."""

    __slots__ = ("booked", "line", "price", "unit", "waiter")

    def __init__(self, line: Line, price: int, waiter: Waiter) -> None:
        self.line = line
        self.waiter = waiter
        self.price = price  # what it costs, in clock units
        self.unit = line.ledger.unit  # of which so many made a token
        self.booked = 0  # what it is charged while it waits

    def due(self, ahead: int = 0) -> int:
        """Return the nanosecond at which its tokens, after `ahead` clock units, have accrued."""
        return max(self.line.due(self.line.base + ahead, self.price), self.line.left)

    def book(self, charge: int, now: int) -> None:
        """Stand in line."""
        line, ledger, floor = self.line, self.line.ledger, now * self.line.ledger.scale
        line.places[self] = None
        ledger.full_at, line.booked, self.booked = (full if (full := ledger.full_at) > floor else floor) + charge, line.booked + charge, charge  # fmt: skip  # noqa: E501

    def pay(self, due: int) -> None:
        """Be granted at `due`, which may be later than its own tokens needed."""
        line, ledger = self.line, self.line.ledger
        line.left = due
        if self.booked:
            paid = line.charged(line.base, self.price, due) - line.base
            ledger.full_at, line.booked, self.booked = ledger.full_at - self.booked + paid, line.booked - self.booked, 0  # fmt: skip  # noqa: E501
        line.places.pop(self, None)

    def reprice(self, price: int, now: int) -> None:
        """Pay another price than was asked for, or not yet having paid, stand in line for it."""
        line, ledger = self.line, self.line.ledger
        extra = price - round(Fraction(self.price * ledger.unit, self.unit))
        if self in line.places:
            line.change(now)
            ledger.full_at, line.booked, self.booked, self.price = ledger.full_at + extra, line.booked + extra, self.booked + extra, price  # fmt: skip  # noqa: E501
            return
        self.price, self.unit = price, ledger.unit
        line.correct(extra, now)

    def abandon(self, now: int) -> None:
        """Give the tokens back and leave the line."""
        line, ledger, was_first = self.line, self.line.ledger, self.line.first is self
        if self.waiter.granted and not self.booked:
            line.places.pop(self, None)
            self.reprice(0, now)
            return
        line.change(now)
        ledger.full_at, line.booked, self.booked, self.price = ledger.full_at - self.booked, line.booked - self.booked, 0, 0  # fmt: skip  # noqa: E501
        line.places.pop(self, None)
        if was_first:
            line.bar(now * ledger.scale)  # whoever is next is granted now at the earliest (P1)


class Waiter:
    """Someone who waits, in one line or in several.

    Args:
        sleeper: Whom to wake; None if nobody sleeps, as for a reservation.
    """

    __slots__ = ("alarm", "granted", "order", "places", "sleeper")

    def __init__(self, sleeper: Sleeper | None = None) -> None:
        self.places: list[Place] = []
        self.sleeper = sleeper
        self.granted = False
        self.alarm: int | None = None  # the nanosecond at which the sleeper wakes by itself
        self.order = -1

    @property
    def lines(self) -> list[Line]:
        """Where it stands."""
        return [place.line for place in self.places]

    def wake_before(self, now: int) -> None:
        """Wake its sleeper if its alarm would go off later than `now`."""
        if self.sleeper is not None and (self.alarm is None or self.alarm > now):
            self.sleeper.wake()

    @property
    def not_first_in(self) -> list[Line]:
        """The lines in which somebody stands ahead of it."""
        return [place.line for place in self.places if place.line.first is not place]

"""Keys at rest: of a bucket that nobody holds or waits for, only the integer is kept.

A bucket with a known limit, without a line, without a pause and in nobody's hands, is its `full_at`
and nothing else. So a keyed limiter keeps a dictionary of keys to integers, and makes a bucket only
for a key that somebody needs; see `key_table.KeyTable`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from operator import setitem
from sys import flags, gettrace
from typing import Any

from ..admission import Tokens
from ..core import layout, twin
from ..units import Limit
from .ledger import Ledger
from .transaction import JOURNAL, Result, Write, remove, step

__all__ = ["ADDED", "TAKEN", "KeysAtRest", "is_plain"]

TAKEN, ADDED = 1, 2  # what `take` answers: of a key at rest, and of one that is new
_ONE = 1  # as in `ledger`
# What is hashed and compared by the interpreter alone, so that a key at rest can be looked up
# within a step (P38). `python -b` warns when bytes are compared, and a warning runs anything.
_PLAIN = frozenset({str, int, float, bool, type(None), *([] if flags.bytes_warning else [bytes])})


def is_plain(key: object) -> bool:
    """Tell whether a key can be at rest: to hash and compare it runs no code of the user's."""
    kind = type(key)
    return kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, key)))  # type: ignore[call-overload]


@layout("at_rest")
class KeysAtRest:
    """Count the tokens of keys that have no bucket.

    Attributes:
        limit: The limit of every key; None if it is not known, and then no key is ever at rest.
        now: The clock, in nanoseconds.
        full_at: When the tokens of each key at rest are full, in units. All its keys are plain.
        in_use: What is kept of the keys that have a bucket, by hash. No key is in both.
        count: How many keys there are in both.
        most: How many there may be.
    """

    __slots__ = ("_unswept", "count", "full_at", "in_use", "limit", "most", "now")

    def __init__(self, limit: Limit | None, now: Callable[[], int], most: int) -> None:
        self.limit = limit
        self.now = now
        self.most = most
        self.count = 0
        self.full_at: dict[Any, int] = {}
        self.in_use: dict[int, Any] = {}
        self._unswept: Iterator[Any] = iter(())

    @twin("take_at_rest")
    def take(self, key: Hashable, tokens: Tokens) -> int:
        """Take tokens of a key that is at rest, or is new and will be, if they are there now.

        As in `FastPath`, each question and its change are on one line that calls nothing, and keep
        off while a step is under way (P18, P19).

        Returns:
            `TAKEN` or `ADDED`. 0: use the slow path; it does not mean that the tokens are missing.
        """
        limit = self.limit
        if limit is None or gettrace() is not None or not (type(key) in _PLAIN or is_plain(key)):
            return 0
        now = self.now() * limit.scale
        if tokens is _ONE:
            cost = limit.unit
            latest = now + limit.slack
        else:
            cost = limit.cost(tokens)
            latest = now + limit.span - cost
        rest = self.full_at
        if not JOURNAL.busy and key in rest and (start := full if (full := rest[key]) > now else now) <= latest: rest[key] = start + cost; return TAKEN  # fmt: skip  # noqa: E501, E701, E702
        full, number, fits = now + cost, hash(key), now <= latest
        # What may run out of memory comes before the count changes.
        if fits and not JOURNAL.busy and key not in rest and number not in self.in_use and (count := self.count + 1) <= self.most: rest[key] = full; self.count = count; return ADDED  # fmt: skip  # noqa: E501, E701, E702
        return 0

    def holds(self, key: Hashable) -> bool:
        """Tell whether a key is at rest; of one that is not plain, its equal may be."""
        return is_plain(key) and key in self.full_at

    def of_hash(self, number: int) -> list[Any]:
        """Return the keys at rest that have this hash, without comparing any."""
        probe = _Probe(number)
        return [] if probe in self.full_at else probe.seen

    def full_in(self, key: Hashable, now: int) -> int | None:
        """Return the nanoseconds until a key at rest is full; None if it is not at rest."""
        full_at = self.full_at.get(key)
        if full_at is None or self.limit is None:
            return None
        return max(-(-full_at // self.limit.scale) - now, 0)

    def wake(self, key: Hashable, ledger: Ledger) -> list[Write]:
        """Return the writes that hand a key at rest over to the ledger of its new bucket."""
        return [
            (setattr, ledger, "full_at", self.full_at[key]),
            (remove, self.full_at, key, None),
        ]

    def lay(self, key: Hashable, ledger: Ledger) -> list[Write] | None:
        """Return the writes that put a key at rest again; None if its bucket has to stay.

        It has to while somebody waits, while a pause is on, and with a limit of its own: of a key
        at rest nothing is kept but an instant.
        """
        if self.limit is None or ledger.fast is not self.limit:
            return None
        return [(setitem, self.full_at, key, ledger.full_at)]

    def fill(self, key: Hashable, number: int, first: Any, now: int) -> Result:
        """Compute the step that fills a key at rest; one that is nowhere is full already.

        Args:
            key: The key.
            number: Its hash.
            first: What was in use of this hash when the key was not.
            now: Now, in nanoseconds.

        Returns:
            Whether nothing has come into use meanwhile, and the writes.
        """
        if self.in_use.get(number) is not first:
            return False, []
        if self.limit is None or not self.holds(key):
            return True, []
        return True, [(setitem, self.full_at, key, now * self.limit.scale)]

    def sweep(self, count: int) -> None:
        """Look at the next few keys, and drop those that are full, in one step."""
        if self.limit is None:
            return
        keys = list(islice(self._unswept, count))
        if len(keys) < count:
            self._unswept = iter(self.listed())
        self.drop(keys, self.now() * self.limit.scale)

    def drop(self, keys: list[Any], now: int) -> None:
        """Drop those of these keys that are full at `now`, which is in units."""
        full = self._full(keys, now)
        if full:
            step(self._drop, full, now)

    def _full(self, keys: list[Any], now: int) -> list[Any]:
        instants = zip(keys, map(self.full_at.get, keys), strict=True)
        return [key for key, full_at in instants if full_at is not None and full_at <= now]

    def _drop(self, keys: list[Any], now: int) -> Result:
        full = self._full(keys, now)
        writes: list[Write] = [(remove, self.full_at, key, None) for key in full]
        return None, [*writes, (setattr, self, "count", self.count - len(full))]

    def listed(self) -> list[Any]:
        """Return all keys at rest."""
        while True:
            try:
                return list(self.full_at)
            except RuntimeError:  # a finalizer has changed it meanwhile
                continue


class _Probe:
    """Looks like a key of some hash to a dictionary, and notes the keys that it is compared with.

    Attributes:
        seen: These keys.
    """

    __slots__ = ("_number", "seen")

    def __init__(self, number: int) -> None:
        self._number = number
        self.seen: list[Any] = []

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return False

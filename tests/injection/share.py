"""Which points are tried when there is no time for all of them."""

from __future__ import annotations

from collections.abc import Iterator

from .scenarios import Scenario

__all__ = ["points"]

STEP = 5  # between the lines of one scenario and injector, as far as the share allows
DENSER = 6  # exceptions, of which there are few kinds, against the many calls that come in


def points(
    scenario: Scenario, place: int, share: int, after: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, int]]:
    """Return the numbers of injectors and lines to be tried, always the same ones.

    To know what an injector may leave behind costs as much as several points, so a share is made of
    fewer pairs of scenario and injector first, and then of fewer lines of each.

    Args:
        scenario: What is run.
        place: Where it stands among all scenarios.
        share: One point in this many, and several times as many exceptions.
        after: The point after which to begin.
    """
    step = min(share, STEP)
    apart = max(share // step, 1)
    for number, injector in enumerate(scenario.injectors):
        if (place * 31 + number) % (apart if injector.guest else max(apart // DENSER, 1)):
            continue
        for line in range(1 + (place + number) % step, scenario.lines + 1, step):
            if (number, line) > after:
                yield number, line

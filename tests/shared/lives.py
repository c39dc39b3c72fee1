"""Generated lives of callers of shared buckets: what they do when, and what became of them."""

from fractions import Fraction

from hypothesis import strategies as st
from schedules import SECOND, START, Texts, World

LIMITS = [(5, 1), (10, 3), (1, Fraction(1, 3)), (7, Fraction(100, 60)), (2, 0.7), (4, 0.2), (20, 2)]
NEVER = st.just(())
NOW_AND_THEN = st.sampled_from([(), (), (1,), (2,), (1, 3), (2, 4, 6)])  # of its questions
ANY = st.lists(st.integers(0, 5), max_size=4).map(tuple)
IN_TIME = [0, 1, SECOND // 10, SECOND - 1]
LATE = [SECOND, SECOND + 1, 3 * SECOND, 9_999_999]
DEAD = None
limits = st.lists(st.sampled_from(LIMITS), min_size=1, max_size=3)
debts = st.sampled_from([0, 8, 14, 40])
passing = st.one_of(st.sampled_from([0, 0, 1, SECOND]), st.integers(0, 3 * SECOND))
costs = st.dictionaries(st.integers(0, 2), st.sampled_from([1, 1, 1, 2, 3, 9]), min_size=1)


def acts(latencies, *more, losing=NEVER):
    """Generate what callers do, after some time, to some of the buckets."""
    wait = st.tuples(st.just("wait"), st.sampled_from(latencies), st.booleans(), losing)
    acting = [wait, wait, wait, st.tuples(st.just("allow")), *more]
    return st.lists(st.tuples(passing, costs, st.one_of(*acting)), min_size=4, max_size=40)


cancelling = st.tuples(st.just("cancel"), st.integers(0, 40))
interrupting = st.tuples(st.just("interrupt"), st.integers(0, 40), passing)
stopping = st.tuples(
    st.just("stop"), st.integers(0, 40), st.sampled_from([SECOND, 10 * SECOND, 40 * SECOND])
)
pausing = st.tuples(st.just("pause"), st.sampled_from([SECOND, 5 * SECOND, 20 * SECOND]))
resuming = st.tuples(st.just("resume"))


@st.composite
def crossing(draw):
    """Generate callers who renew for two buckets, with times promised amid them, and a pause."""
    both, amid = {0: 1, 1: 1}, {draw(st.integers(0, 1)): 1}
    renewing, promised = (both, ("wait", 0, False, ())), (amid, ("wait", 0, True, ()))
    ahead = [renewing] * draw(st.integers(2, 3))
    behind = draw(st.lists(st.sampled_from([renewing, promised, promised]), max_size=6))
    length = draw(st.sampled_from([20 * SECOND, 40 * SECOND]))
    pause = [({draw(st.integers(0, 1)): 1}, ("pause", length))]
    return [
        (draw(passing), tokens, act) for tokens, act in [*ahead, promised, *behind, *pause, *behind]
    ]


def lived(world_limits, schedule, *, seconds=0, forgets=True, start=START, store=None):
    """Return the world after a schedule, long enough for everybody to have left.

    At first each bucket owes what comes in within some seconds, so that callers wait for long.
    """
    world = World.of(*world_limits, now=start)
    world.store = store or Texts(forgets=forgets)
    for n, limit in enumerate(world.limits):
        tokens = seconds * limit.terms.tokens_per_second + limit.terms.capacity
        world.ask("correct", {n: int(tokens)})
    for microseconds, wanted, act in schedule:
        world.advance(microseconds)
        do(world, within(world, wanted, 9), *act)
    world.advance(10**5 * SECOND)
    return world


def within(world, wanted, largest):
    """Return what is wanted of the buckets that there are, at most `largest` of each."""
    return {n % len(world.limits): min(tokens, largest) for n, tokens in sorted(wanted.items())}


def do(world, tokens, kind, *details):
    if kind == "allow":
        world.allow(tokens)
    elif kind == "wait":
        latency, claim, lost = details
        world.wait(tokens, latency, lost=lost, claim=claim and latency == 0)
    elif kind in {"cancel", "interrupt", "stop"}:
        if world.callers:
            chosen, *more = details
            getattr(world, kind)(world.callers[chosen % len(world.callers)], *more)
    else:
        world.ask(kind, dict.fromkeys(tokens, 0), *details)

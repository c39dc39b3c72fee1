"""The script says what the algorithm says, and its fast path what the rest of it says."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import (
    ANY,
    DEAD,
    IN_TIME,
    LATE,
    acts,
    cancelling,
    crossing,
    debts,
    interrupting,
    lived,
    pausing,
    resuming,
    stopping,
)
from lives import limits as lived_limits
from malformed import MALFORMED
from script_twins import Twins, TwinStore, without_fast_path

from each import each
from rate_limiter.redis.script import SOURCE, answer_of, request, sha_of
from rate_limiter.shared import algorithm
from rate_limiter.shared.failures import TooMuch
from rate_limiter.shared.state import read
from rate_limiter.shared.store import Limit, Place, Question
from rate_limiter.shared.terms import LONGEST, Terms

SECOND = 10**6
NOW = 1_790_000_000_123_457
LIMITS = [
    *((5, 1), (10, 3), (1, Fraction(1, 3)), (7, Fraction(100, 60)), (100, 1000), (2, 0.7)),
    *((1, 1e-6), (10**9, 10**9), (0.5, 0.1), (1000, math.pi), (10, 2**52 + 1), (2.5, 7e5)),
    *((3, Fraction(43, 86_400)), (9, Fraction(89_000, 3_600)), (10, 0.5), (4, 0.2), (20, 2)),
]
AT_ONCE = st.sampled_from([(5, 1), (10, 3), (7, Fraction(100, 60)), (2, 0.7), (4, 0.2), (20, 2)])
SHARES = [Fraction(1), Fraction(1, 3), Fraction(1, 7), Fraction(1, 10), Fraction(5, 2), None]
buckets = st.sampled_from([(0,), (0,), (1,), (0, 1), (0, 1)])
shares = st.sampled_from(SHARES)
longest = st.sampled_from([0, -1, SECOND, 10 * SECOND, 100 * SECOND, 10**10])
questions = st.one_of(
    st.tuples(st.just("take"), buckets, shares, longest, st.booleans()),
    st.tuples(st.just("take"), buckets, shares, longest, st.booleans()),
    st.tuples(
        st.just("revisit"),
        st.sampled_from(["renew", "renew", "lose", "cancel"]),
        st.integers(0, 50),
    ),
    st.tuples(st.just("correct"), buckets, shares, st.sampled_from([1, -1, 0])),
    st.tuples(st.just("lease"), st.sampled_from([(0,), (1,)]), shares, st.integers(0, 4)),
    st.tuples(st.sampled_from(["pause", "resume", "reset", "level"]), buckets, longest),
)
passing = st.one_of(
    st.sampled_from([0, 0, 1, 5 * SECOND, 6 * SECOND, 15 * SECOND, -3 * SECOND]),
    st.integers(0, 3 * SECOND),
)
limits = st.one_of(*[st.none()] * 6, st.tuples(st.integers(0, 1), st.sampled_from(LIMITS)))
starts = st.one_of(st.just(NOW), st.sampled_from([0, 1, 10**6]), st.integers(0, 2**62 // 1000))


@pytest.fixture
def make_twins(client, name):
    """Make buckets that nobody has used."""
    digests = [client.script_load(source).encode() for source in (SOURCE, without_fast_path())]

    def make_twins(first, second, start):
        for kind in "fs":
            client.delete(f"{name}:{kind}0", f"{name}:{kind}1")
        return Twins(client, digests, name, [Terms(*first), Terms(*second)], start)

    return make_twins


def put(twins, step):
    """Put a question of a generated step to the twins."""
    kind, *details = step
    if kind == "revisit":
        operation, chosen = details
        return twins.revisit(operation, chosen, 10**10)
    which, share, *rest = details
    tokens = 0
    if kind in {"take", "correct", "lease"}:
        tokens = 1 if share is None else twins.terms[which[0]].capacity * share
    if kind == "take":
        return twins.take("take", which, tokens, rest[0], claim=rest[1])
    if kind == "lease":
        return twins.take("lease", which, tokens, 0, spare=rest[0])
    if kind == "correct":
        return twins.take("correct", which, tokens * rest[0], 0)
    return twins.take(kind, which, 0, share)


def run(twins, steps):
    for microseconds, changed, step in steps:
        twins.now = max(twins.now + microseconds, 0)
        if changed is not None:
            twins.terms[changed[0]] = Terms(*changed[1])
        put(twins, step)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_put_any_questions_agrees_with_the_algorithm(make_twins, limit):
    """P35: Whatever is asked in whatever order, script and algorithm answer and keep the same."""

    @settings(max_examples=8)
    @given(
        second=AT_ONCE,
        start=starts,
        steps=st.lists(st.tuples(passing, st.none(), questions), min_size=5, max_size=30),
    )
    def check(second, start, steps):
        run(make_twins(limit, second, start), steps)

    check()


@settings(max_examples=100)
@given(data=st.data())
def test_change_limits_meanwhile_agrees_to_a_microsecond(make_twins_for_all, data):
    """P35: So they do when limits change, to a microsecond where tokens get another worth."""
    first, second, start = data.draw(AT_ONCE), data.draw(AT_ONCE), data.draw(starts)
    steps = data.draw(st.lists(st.tuples(passing, limits, questions), min_size=5, max_size=30))
    run(make_twins_for_all(first, second, start), steps)


@pytest.fixture(scope="module")
def make_twins_for_all(redis_server):
    """Make buckets that nobody has used, for every example of a test."""
    with redis_server.client() as client:
        digests = [client.script_load(source).encode() for source in (SOURCE, without_fast_path())]

        def make_twins(first, second, start):
            client.delete(*[f"changed:{kind}{n}" for kind in "fs" for n in range(3)])
            return Twins(client, digests, "changed", [Terms(*first), Terms(*second)], start)

        yield make_twins


@settings(max_examples=40)
@given(data=st.data(), world_limits=lived_limits, debt=debts)
def test_live_by_the_script_as_by_the_algorithm(make_twins_for_all, data, world_limits, debt):
    """P35: So they do for callers who renew, die, give up, are stopped and hear no answers."""
    more = cancelling, interrupting, stopping, pausing, resuming
    lives = st.one_of(acts([*IN_TIME, *LATE, DEAD], *more, losing=ANY), crossing())
    twins = make_twins_for_all((1, 1), (1, 1), NOW)
    twins.terms = [Terms(*limit) for limit in world_limits]
    twins.values = [None for _ in world_limits]

    world = lived(world_limits, data.draw(lives), seconds=debt, store=TwinStore(twins))

    everything = dict.fromkeys(range(len(world_limits)), 0)
    assert {standing.waiting for standing in world.ask("level", everything).standings} == {0}


def test_fill_a_line_beyond_what_is_kept_apart_agrees(make_twins):
    """P35: So they do where the oldest of a long line are kept as one, and leave it again."""
    twins = make_twins((1, 1), (3, 2), NOW)
    for n in range(130):
        twins.now += 1000
        twins.take("take", (0,) if n % 3 else (0, 1), 1, 10**10, claim=n % 5 > 0)
    for chosen in (3, 70, 0, 11, 11, 40, 2, 2, 2):
        twins.revisit("cancel", chosen, 0)
    for _ in range(30):
        twins.now += 5 * SECOND
        for chosen in range(6):
            twins.revisit("renew", chosen, 10**10)


LEAVING = {
    "cancelled": [("cancel", 12, 10**10)],
    "dead": [("", 14, 0)],
    "refused": [("renew", 12, SECOND)],
    "lost in one bucket": [("reset", 12, 0), ("renew", 0, 10**10)],
}


@pytest.mark.parametrize("way", LEAVING)
def test_leave_the_head_of_a_line_agrees(make_twins, way):
    """P35: So they do where a head that wants more than fits leaves what has added up for it."""
    twins, both = make_twins((10, 1), (5, 2), NOW), {0: 60, 1: 60}
    twins.ask("correct", {0: 10, 1: 5}, 0)
    head = twins.ask("take", both, 10**10).place
    twins.now += SECOND
    twins.ask("take", {0: 60}, 10**10)
    for operation, seconds, longest in LEAVING[way]:
        twins.now += seconds * SECOND
        if operation:
            tokens = {1: 0} if operation == "reset" else both
            twins.ask(operation, tokens, longest, place=head)

    assert twins.ask("level", {0: 0}, 0).standings[0].waiting == 1 + (way == "lost in one bucket")


@pytest.mark.parametrize("tokens", [{0: 3}, {0: 3, 1: 4}], ids=["one", "both"])
@pytest.mark.parametrize(("late", "lacks"), [(16, 51), (29, 40), (46, 40)])
def test_renew_what_has_left_without_its_caller_agrees(make_twins, tokens, late, lacks):
    """P35: So they do where a process that was stopped gives back what has not come back since."""
    twins = make_twins((30, 1), (40, 1), NOW)
    twins.ask("correct", {0: 31, 1: 40}, 0)
    place = twins.ask("take", tokens, 10**10).place
    twins.now += (4 + late) * SECOND
    twins.ask("correct", {0: 40, 1: 40}, 0)

    twins.ask("renew", tokens, 0, place=place)

    assert twins.ask("take", {0: 30}, -1).wait == lacks * SECOND


@pytest.mark.parametrize("changed", [(20, 1), (70, 1), (20, 2), (6, Fraction(1, 2))], ids=str)
def test_change_the_limit_behind_a_large_head_agrees(make_twins, changed):
    """P35: So they do where the head of the line has more than the capacity, and keeps that."""
    twins = make_twins((5, 1), (1, 1), NOW)
    twins.ask("correct", {0: 5}, 0)
    twins.ask("take", {0: 60}, 10**10, claim=True)
    twins.now += 45 * SECOND
    twins.terms[0] = Terms(*changed)

    twins.ask("correct", {0: 0}, 0)

    lacks = max(Fraction(changed[0]) - 45, min(changed[0] - 60, 0)) * twins.terms[0].unit
    assert (
        abs(
            read(twins.values[0], twins.terms[0], twins.now).full_at
            - twins.now * twins.terms[0].scale
            - lacks
        )
        <= twins.terms[0].scale
    )


def test_cancel_beside_a_run_of_places_agrees(client, make_twins):
    """P35: So they do where the number of a place is between those of others, kept as one."""
    twins = make_twins((1, 1), (1, 1), NOW)
    due = [NOW + seconds * SECOND for seconds in range(5)]
    run, own = f";1:3:2:2000000:0:{due[3]}:0:{due[2]}:0", f";2:2:1:1000000:0:{due[4]}:0:{due[3]}:0"
    text = f"{due[1]}{twins.terms[0].text}"
    twins.values[0] = text + run + own
    client.mset(dict.fromkeys([f"{twins.name}:f0", f"{twins.name}:s0"], twins.values[0]))

    twins.ask("cancel", {0: 1}, 0, place=Place(2, due[3]))

    assert twins.values[0] == text + run


@pytest.mark.parametrize("limit", [(10, 3), (Fraction(10, 3), 7), (5, 1)], ids=str)
def test_lease_all_that_is_there_agrees_to_the_remainder(make_twins, limit):
    """P35: A lease takes the last part of a microsecond, by script and algorithm alike."""
    for taken in (1, 2, Fraction(1, 3), Fraction(5, 7)):
        for spare in (0, 1, Fraction(1, 3), 100):
            twins = make_twins(limit, (1, 1), NOW)
            twins.take("take", (0,), taken, 0)
            twins.now += 7
            twins.take("lease", (0,), Fraction(2, 3), 0, spare=spare)
            twins.take("lease", (0,), Fraction(1, 9), 0, spare=spare)


def test_lease_all_but_a_part_of_a_microsecond_agrees(make_twins):
    """P35: So it is if what is wanted and what is there differ by less than a microsecond."""
    twins = make_twins((10**9, 10**9), (1, 1), NOW)
    assert twins.ask("lease", {0: 1}, 0, spare=10**9 - 5).spare == (10**9 - 5) * twins.terms[0].unit
    assert twins.ask("lease", {0: 1}, 0, spare=100).spare == 3 * twins.terms[0].unit


def test_crowd_a_line_tells_the_next_its_time(client, make_twins):
    """P35: Behind 256 who renew a caller is told its time, by script and algorithm alike."""
    twins = make_twins((1, 1), (1, 1), NOW)
    line = "".join(f";{n}:{n}:1:1000000:0:0:0:0:{NOW + 9 * SECOND}" for n in range(1, 256))
    text = f"{NOW + 60 * SECOND}{twins.terms[0].text}{line}"
    twins.values[0] = text
    client.mset({f"{twins.name}:f0": text, f"{twins.name}:s0": text})

    for _ in range(3):
        twins.take("take", (0,), 1, 10**11)

    assert [held.place.due > 0 for held in twins.held] == [False, True, True]


@each("text", MALFORMED)
@pytest.mark.parametrize("source", [SOURCE, without_fast_path()], ids=["fast", "slow"])
def test_find_what_is_no_bucket_says_so_and_changes_nothing(client, name, source, text):
    """P33: A value that is not that of a bucket is CORRUPT for every question, and stays."""
    sha = client.script_load(source).encode()
    limits = [Limit(f"{name}:{n}".encode(), Terms(10, 5)) for n in range(2)]
    client.set(limits[1].key, text)

    for operation in ("take", "level", "correct", "cancel", "renew", "pause", "resume", "reset"):
        for charges in ([(limits[1], 1)], [(limit, 1) for limit in limits]):
            with pytest.raises(Exception, match="CORRUPT"):
                client.execute_command(*request(Question(operation, charges, SECOND, now=NOW), sha))

    assert client.mget(limits[0].key, limits[1].key) == [None, text.encode()]


def test_owe_more_than_can_be_counted_is_refused(client, name):
    """P5: A debt beyond 2^53 microseconds is an OVERFLOW, and no bucket of the group is charged."""
    terms, now = Terms(10, 5), 2**53 - 2 * LONGEST
    one, other = [(Limit(f"{name}:{n}".encode(), terms), LONGEST * terms.scale) for n in range(2)]
    client.script_load(SOURCE)
    client.execute_command(*request(Question("correct", [one], now=now)))
    kept = client.mget(f"{name}:0", f"{name}:1")

    question = Question("correct", [other, one], now=now)
    with pytest.raises(Exception, match="OVERFLOW"):
        client.execute_command(*request(question))
    with pytest.raises(TooMuch):
        algorithm.answer(question, [None, kept[0].decode()], now)

    assert client.mget(f"{name}:0", f"{name}:1") == kept
    assert kept[1] is None


def test_meet_a_key_of_another_type_says_so(client, name):
    """P33: A list under the key is the server's own WRONGTYPE."""
    client.script_load(SOURCE)
    client.lpush(name, "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        client.execute_command(
            *request(Question("take", [(Limit(name.encode(), Terms(10, 5)), 1)]))
        )


@pytest.mark.parametrize("limit", LIMITS, ids=str)
def test_take_at_the_servers_time_expires_when_full(client, name, limit):
    """P30: A key lives until its bucket is full and a second more, from microseconds to years."""
    terms = Terms(*limit)
    client.script_load(SOURCE)
    for units in (1, terms.span):
        client.delete(name)
        question = Question("take", [(Limit(name.encode(), terms), units)])
        assert answer_of(client.execute_command(*request(question)), question).wait == 0
        full_in = units / terms.scale / 1000
        assert full_in < client.pttl(name) <= full_in + 1002


def test_digest_names_the_script():
    """P28: The digest that calls go by is that of the script."""
    assert request(Question("level", [(Limit(b"x", Terms(1, 1)), 0)]))[1] == sha_of(SOURCE)

"""What callers of shared buckets live through, whoever waits, renews, gives up or dies."""

from copy import deepcopy
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import (
    ANY,
    DEAD,
    IN_TIME,
    LATE,
    LIMITS,
    NOW_AND_THEN,
    acts,
    cancelling,
    costs,
    crossing,
    debts,
    do,
    interrupting,
    limits,
    lived,
    pausing,
    resuming,
    stopping,
    within,
)
from schedules import FOREVER, SECOND, START, Texts, World

from each import each
from rate_limiter.shared import algorithm, line
from rate_limiter.shared.algorithm import answer
from rate_limiter.shared.failures import TooMuch
from rate_limiter.shared.line import FIRM, LIFE, RENEWAL
from rate_limiter.shared.store import NOWHERE, Limit, Place, Question
from rate_limiter.shared.terms import LONGEST, Terms


def check_rates(world):
    """See to it that no window has seen more than the capacity and what came in, to a microsecond.

    A cost above the capacity is admitted whole, so that it counts as the capacity.
    """
    for n, limit in enumerate(world.limits):
        terms = limit.terms
        left = sorted((c.left, c.costs[n] * terms.unit) for c in world.callers if leaves(c, n))
        most = max([terms.span, *[units for _, units in left]])
        for first, (since, _) in enumerate(left):
            units = 0
            for at, cost in left[first:]:
                units += cost
                assert units <= most + (at - since + 1) * terms.scale


def leaves(caller, n):
    return caller.left is not None and n in caller.costs


def check_order(world):
    """See to it that who came first left first, in each bucket.

    Only a caller that was told its time before a pause, or as soon as it came during one, keeps it,
    so that it may pass one ahead; and one that has lost its place begins at the end.
    """
    left = [caller for caller in world.callers if caller.left is not None and not caller.moved]
    for place, ahead in enumerate(left):
        for behind in left[place + 1 :]:
            if ahead.costs.keys() & behind.costs.keys():
                in_order = ahead.left <= behind.left
                assert in_order or keeps_its_time(world, behind), (ahead, behind)


def keeps_its_time(world, caller):
    """Tell whether a pause came in between when a caller was told and when it left."""
    at_once = caller.asked == 1
    return caller.told is not None and any(
        begin <= caller.left and caller.heard <= (end if at_once else begin)
        for begin, end in world.pauses
    )


def check_promises(world):
    """See to it that everybody who stayed has left, and whoever was told a time left then."""
    for caller in world.callers:
        assert caller.gone or caller.left is not None, caller
        assert caller.gone or caller.told in {None, caller.left}, caller


@settings(max_examples=80)
@given(limits, acts(IN_TIME, cancelling), debts, st.booleans())
def test_wait_in_time_leaves_in_order_and_within_the_rate(world_limits, schedule, debt, forgets):
    """P10: Whoever renews in time leaves in order of coming, in groups too; P1 in every window."""
    world = lived(world_limits, schedule, seconds=debt, forgets=forgets)

    check_rates(world)
    check_order(world)
    check_promises(world)


@settings(max_examples=80)
@given(
    limits,
    st.one_of(acts(IN_TIME, cancelling, pausing, resuming), crossing()),
    debts,
    st.booleans(),
)
def test_wait_in_time_leaves_in_order_whatever_is_paused(world_limits, schedule, debt, forgets):
    """P10: Pauses change no order, but for callers that were told their time before."""
    world = lived(world_limits, schedule, seconds=debt, forgets=forgets)

    check_rates(world)
    check_order(world)
    check_promises(world)


@settings(max_examples=80)
@given(limits, acts(IN_TIME, interrupting, losing=NOW_AND_THEN), debts, st.booleans())
def test_wait_whose_answers_get_lost_leaves_in_order(world_limits, schedule, debt, forgets):
    """P10: Whoever still has its place after an answer was lost leaves in order of coming."""
    world = lived(world_limits, schedule, seconds=debt, forgets=forgets)

    check_rates(world)
    check_order(world)
    check_promises(world)


@settings(max_examples=40)
@given(st.sampled_from(LIMITS), acts([0], losing=NOW_AND_THEN), debts)
def test_lose_answers_now_and_then_costs_nothing(limit, schedule, debt):
    """P29: Of two renewals of a wait one may be lost: callers leave when they would have, once."""
    none_lost = [
        (passed, costs, (*act[:3], ()) if act[0] == "wait" else act)
        for passed, costs, act in schedule
    ]
    worlds = [lived([limit], each, seconds=debt) for each in (schedule, none_lost)]

    assert not any(caller.moved for caller in worlds[0].callers)
    left, expected = [[caller.left for caller in world.callers] for world in worlds]
    assert left == expected


@settings(max_examples=80)
@given(
    limits,
    acts(
        [*IN_TIME, *LATE, DEAD], cancelling, interrupting, stopping, pausing, resuming, losing=ANY
    ),
    debts,
    st.booleans(),
)
def test_wait_however_late_keeps_the_rate_and_promises(world_limits, schedule, debt, forgets):
    """P1: Neither late renewals, deaths, lost answers, processes that are stopped nor pauses break
    a window, or a time that somebody was told."""
    world = lived(world_limits, schedule, seconds=debt, forgets=forgets)

    check_rates(world)
    check_promises(world)


@settings(max_examples=40)
@given(limits, acts([*IN_TIME, *LATE, DEAD], cancelling, pausing), st.integers(0, 3))
def test_run_from_the_beginning_of_time_is_the_same(world_limits, schedule, start):
    """P8: Nothing depends on what the clock says, nor on whether a store forgets what is full."""
    worlds = [
        lived(world_limits, schedule, seconds=9, start=start),
        lived(world_limits, schedule, seconds=9),
        lived(world_limits, schedule, seconds=9, forgets=False),
    ]

    early, late, kept = [
        [(c.gone, c.left and c.left - c.joined) for c in world.callers] for world in worlds
    ]
    assert early == late == kept


@settings(max_examples=40)
@given(limits, acts(IN_TIME, cancelling), costs)
def test_ask_how_long_changes_nothing_and_is_told_enough(world_limits, schedule, wanted):
    """P6: Whoever comes back when told is served; if nobody renews, not a microsecond earlier."""
    world = World.of(*world_limits)
    world.store = Texts(forgets=False)
    for microseconds, tokens, act in schedule[:12]:
        world.advance(microseconds)
        do(world, within(world, tokens, 1), *act)
    wanted, before = within(world, wanted, 1), dict(world.store.values)

    told = world.ask("take", wanted, -1).wait

    assert world.store.values == before
    early, in_time = deepcopy(world), deepcopy(world)
    in_time.advance(told)
    assert in_time.allow(wanted)
    if told and not any(renews(world)):
        early.advance(told - 1)
        assert not early.allow(wanted)


def renews(world):
    return [
        place
        for text in world.store.values.values()
        for place in text.split(";")[1:]
        if not place.endswith(":0")
    ]


@settings(max_examples=40)
@given(limits, acts([*IN_TIME, DEAD], cancelling, pausing), costs)
def test_refuse_changes_nothing(world_limits, schedule, wanted):
    """P5: After a refusal everything is as it was: values, and what others are told."""
    world = World.of(*world_limits)
    for microseconds, tokens, act in schedule:
        world.advance(microseconds)
        do(world, within(world, tokens, 9), *act)
    wanted, before = within(world, wanted, 9), dict(world.store.values)

    for longest in (0, 1, SECOND):
        charges = [(world.limits[n], 9 * world.limits[n].terms.unit) for n in wanted]
        question = Question("take", charges, longest)
        values = [before.get(limit.key) for limit, _ in charges]
        answered, changes = answer(question, values, world.now)
        assert (changes is None) == (answered.wait > longest)


@settings(max_examples=40)
@given(
    st.sampled_from(LIMITS), acts(IN_TIME, cancelling), st.integers(0, 30), st.sampled_from([1, 3])
)
def test_die_in_line_holds_nobody_up_for_long(limit, schedule, when, tokens):
    """P40: With a caller that dies everybody leaves at most 15 s later than without it."""
    waits = [each for each in schedule if each[2][0] == "wait" and not each[2][2]]
    dying = [(0, {0: tokens}, ("wait", DEAD, False, ()))]
    with_it = lived([limit], [*waits[:when], *dying, *waits[when:]], seconds=12)
    without = lived([limit], waits, seconds=12)

    living = [caller for caller in with_it.callers if caller.latency is not None]
    for caller, other in zip(living, without.callers, strict=True):
        assert caller.left - other.left <= LIFE, (caller, other)


def test_kill_a_crowd_is_over_in_fifteen_seconds():
    """P40: Fifty who died in line are forgotten 15 s after they last asked, all at once."""
    world = World.of((5, 1))
    for _ in range(50):
        world.wait({0: 1}, DEAD)

    world.advance(LIFE)

    assert world.ask("level", {0: 0}).standings[0].waiting == 0
    assert world.ask("take", {0: 1}, -1).wait == 0


def test_reserve_needs_nobody_who_renews():
    """P40: A claim stays, however long it takes."""
    world = World.of((1, 1))
    world.allow({0: 1})
    claims = [world.wait({0: 1}, claim=True) for _ in range(30)]

    assert [claim.told - START for claim in claims] == [n * SECOND for n in range(1, 31)]
    world.advance(20 * SECOND)
    assert world.ask("take", {0: 1}, -1).wait == 11 * SECOND


def test_wait_long_asks_every_five_seconds_until_it_is_soon():
    """P13: A wait of 22 s is renewed at 5, 10 and 15 s, and told its time then."""
    world = World.of((1, 1))
    world.allow({0: 22})
    world.ask("correct", {0: 22})

    caller = world.wait({0: 1})

    for seconds, told in ((5, None), (10, None), (15, START + 22 * SECOND)):
        world.advance(RENEWAL)
        assert world.now == START + seconds * SECOND
        assert caller.told == told


def test_cancel_moves_up_who_renews_and_keeps_who_was_told():
    """P11: Who is still to ask moves up as soon as it asks; who has been told leaves then."""
    world = World.of((1, 1))
    world.allow({0: 1})
    told = [world.wait({0: 1}) for _ in range(10)]
    asking = [world.wait({0: 1}) for _ in range(5)]

    for caller in told[:4] + told[5:]:
        world.cancel(caller)
    world.advance(100 * SECOND)

    assert told[4].left == START + 5 * SECOND
    assert [caller.left - START for caller in asking] == [n * SECOND for n in range(6, 11)]


def test_pause_one_bucket_of_two_keeps_the_order_in_both():
    """P10: Two who wait for both never wait for each other, though a promise passes one of them."""
    world, both = World.of((1, 0.2), (1, 0.2)), {0: 1, 1: 1}
    world.ask("correct", dict.fromkeys(both, 4))
    one, two = world.wait(both), world.wait(both)
    promised = world.wait({1: 1}, claim=True)

    world.ask("pause", {0: 0}, 40 * SECOND)
    world.advance(1000 * SECOND)

    left = [(caller.left - START) // SECOND for caller in (promised, one, two)]
    assert left == [30, 40, 45]


def test_pause_before_a_promise_leaves_room_for_it():
    """P1: Who renews lets a promised time pass that would find too little after it."""
    world = World.of((1, 1))
    world.ask("correct", {0: 12})
    asking = world.wait({0: 1})
    promised = world.wait({0: 1}, claim=True)

    world.advance(SECOND)
    world.ask("pause", {0: 0}, 23 * SECOND // 2)
    world.advance(1000 * SECOND)

    assert (promised.left - START, asking.left - START) == (13 * SECOND, 14 * SECOND)
    check_rates(world)


def test_gather_a_long_line_keeps_it_short_and_right():
    """P14: Of many places the oldest are kept as one, and all can still be given back."""
    world = World.of((1, 1))
    world.allow({0: 1})
    claims = [world.wait({0: 1}, claim=True) for _ in range(500)]
    assert len(world.store.values[b"0"]) < 4000
    assert claims[-1].told == START + 500 * SECOND

    for claim in claims[::2] + claims[1::2]:
        world.cancel(claim)

    assert world.ask("level", {0: 0}).standings[0].waiting == 0
    assert world.ask("take", {0: 1}, -1).wait == SECOND


def test_cancel_what_the_store_has_lost_gives_back_only_what_has_left():
    """P11: A place that is not there has been charged only if its time has come."""
    world = World.of((3, 1))
    world.ask("correct", {0: 3})

    for due, wait in ((0, 3), (START + 1, 3), (START, 2)):
        world.ask("cancel", {0: 1}, place=Place(START, due))
        assert world.ask("take", {0: 3}, -1).wait == wait * SECOND


def test_correct_a_run_of_places_takes_at_most_what_it_is():
    """P14: Giving back more than a run of places costs leaves the run, at no cost."""
    world = World.of((1, 1))
    world.allow({0: 1})
    claims = [world.wait({0: 1}, claim=True) for _ in range(60)]

    world.ask("cancel", {0: 1000}, place=claims[3].place)

    assert world.ask("level", {0: 0}).standings[0].waiting == 59


def test_wait_for_more_than_the_capacity_counts_what_is_given_back():
    """P1: While the first in line wants more than fits, tokens add up for it, given back or not."""
    world = World.of((2, 1))
    world.allow({0: 2})
    large = world.wait({0: 6}, claim=True)
    world.advance(SECOND)
    world.ask("correct", {0: -3})

    assert large.told == START + 6 * SECOND
    world.cancel(large)
    assert world.ask("take", {0: 3}, -1).wait == SECOND


def test_pause_and_resume_admit_one_token():
    """P36: Nobody before the end, one token at it, and on at the rate; `resume` ends it now."""
    world = World.of((4, 0.2))
    flying = [world.wait({0: 1}) for _ in range(4)]
    world.ask("pause", {0: 0}, 60 * SECOND)
    world.ask("pause", {0: 0}, 30 * SECOND)
    world.ask("pause", {0: 0}, 0)
    for caller in flying:
        world.ask("cancel", caller.costs, place=Place(0, world.now))

    assert world.ask("take", {0: 1}, -1).wait == 60 * SECOND
    assert world.ask("take", {0: 4}, -1).wait == 75 * SECOND
    assert world.ask("level", {0: 0}).standings[0].paused == 60 * SECOND
    world.ask("resume", {0: 0})
    world.ask("resume", {0: 0})
    assert [world.allow({0: 1}) for _ in range(2)] == [True, False]


def test_pause_behind_a_promise_delays_only_what_comes_after():
    """P6: What was promised before a pause is not counted from its end once more."""
    world = World.of((4, 0.2))
    for _ in range(4):
        world.allow({0: 1})
    told = world.wait({0: 1})
    world.ask("pause", {0: 0}, 60 * SECOND)

    wait = world.ask("take", {0: 1}, -1).wait

    assert (told.told, wait) == (START + 5 * SECOND, 60 * SECOND)
    world.advance(wait)
    assert world.allow({0: 1})


def test_reset_forgets_everything():
    """P9: A reset bucket is full, open, and nobody waits."""
    world = World.of((1, 1))
    world.allow({0: 1})
    world.wait({0: 1})
    world.ask("pause", {0: 0}, SECOND)

    assert world.ask("reset", {0: 0}).standings[0] == (0, 0, 0)
    assert world.store.values == {}


def test_renew_what_is_gone_takes_a_new_place_or_none():
    """P40: Who renews a place that was given back stands at the end, if it can wait that long."""
    world = World.of((1, 1), (1, 1))
    both = {0: 1, 1: 1}
    world.allow({0: 1})
    world.ask("correct", both)
    gone = Place(START - 20 * SECOND, 0)

    assert world.ask("renew", both, SECOND // 2, place=gone).place == NOWHERE
    renewed = world.ask("renew", both, 10 * SECOND, place=gone)
    assert (renewed.wait, renewed.place) == (2 * SECOND, Place(START, START + 2 * SECOND))
    world.advance(3 * SECOND)
    assert world.ask("renew", both, 0, place=gone).wait == 0


def test_renew_what_takes_too_long_by_now_gives_the_place_up():
    """P12: A renewal that cannot be met in time is refused, and leaves nothing behind."""
    world = World.of((1, 1))
    world.ask("correct", {0: 20})
    caller = world.wait({0: 1}, DEAD)
    world.ask("pause", {0: 0}, 100 * SECOND)

    assert world.ask("renew", {0: 1}, 25 * SECOND, place=caller.place).place == NOWHERE
    assert world.ask("level", {0: 0}).standings[0].waiting == 0


def test_cancel_after_a_lost_answer_gives_the_place_up():
    """P11: Whoever was told when to leave, and has not heard of it, can still leave the line."""
    world = World.of((1, 1))
    world.ask("correct", {0: 12})
    caller = world.wait({0: 1}, lost=(1,))

    world.advance(5 * SECOND)
    world.cancel(caller)

    assert caller.place.due == 0
    assert world.ask("level", {0: 0}).standings[0].waiting == 0


def test_interrupt_a_renewal_gives_the_place_back_once():
    """P29: The caller and the answer that comes late give back the same tokens, once."""
    world = World.of((20, 1))
    world.ask("correct", {0: 31})
    caller = world.wait({0: 1})

    world.advance(4 * SECOND)
    world.interrupt(caller, 9 * SECOND)
    world.advance(9 * SECOND)

    assert world.ask("take", {0: 3}, -1).wait == SECOND


@pytest.mark.parametrize(
    ("tokens", "late", "given"), [(2, 17, 2), (2, 19, 1), (2, 25, 0), (9, 10, 9), (9, 12, 8)]
)
def test_return_what_was_not_used_gives_nothing_back_twice(tokens, late, given):
    """P1: A caller that was stopped gives back only tokens that have not come back since."""
    world = World.of((20, 1))
    world.ask("correct", {0: 20})
    caller = world.wait({0: tokens}, DEAD)
    world.advance((tokens + late) * SECOND)
    world.ask("correct", {0: 40})

    world.ask("renew", {0: tokens}, 0, place=caller.place)

    before = max(20 - late, 0) + 40
    assert world.ask("take", {0: 20}, -1).wait == (before - given) * SECOND


def test_interrupt_a_renewal_that_takes_gives_the_tokens_back():
    """P11: Tokens that a renewal has found there go back, for only its answer knows of them."""
    world = World.of((1, 1))
    world.ask("correct", {0: 12})
    caller = world.wait({0: 1}, latency=9 * SECOND)

    world.advance(13 * SECOND)
    world.interrupt(caller, 0)
    world.advance(1)

    assert world.allow({0: 1})


@pytest.mark.parametrize(("longest", "served"), [(2 * SECOND, True), (2 * SECOND - 1, False)])
def test_renew_after_a_lost_reply_hears_what_was_told(longest, served):
    """P12: A place whose caller has not heard when it leaves is kept, or given up, as any other."""
    world = World.of((1, 1), (1, 1))
    both = {0: 1, 1: 1}
    world.ask("correct", {0: 10, 1: 12})
    place = world.wait(both, DEAD).place
    world.advance(5 * SECOND)
    told = world.ask("renew", both, FOREVER, place=place)
    world.advance(5 * SECOND)

    again = world.ask("renew", both, longest, place=place)

    assert (again.wait, again.slowest) == (2 * SECOND, 1)
    assert again.place == (told.place if served else NOWHERE)
    assert [standing.waiting for standing in again.standings] == [int(served)] * 2


def test_cancel_beside_a_run_of_places_gives_up_its_own():
    """P11: A place is looked for by itself first, for its number may lie within those of a run."""
    world = World.of((1, 1))
    world.ask("correct", {0: 1})
    text = world.store.values[b"0"]
    due = [START + seconds * SECOND for seconds in range(5)]
    run = f";1:3:2:{2 * SECOND}:0:{due[3]}:0:{due[2]}:0"
    own = f";2:2:1:{SECOND}:0:{due[4]}:0:{due[3]}:0"
    world.store.values[b"0"] = text + run + own

    world.ask("cancel", {0: 1}, place=Place(2, due[3]))

    assert world.store.values[b"0"] == text + run


def test_crowd_a_line_tells_whoever_comes_next():
    """P13: Behind 256 who renew a caller is told its time, however long."""
    world = World.of((1, 1))
    world.allow({0: 1})
    text = "".join(
        f";{n}:{n}:1:1000000:0:0:0:0:{START + LIFE}" for n in range(1, line._RENEWING + 1)
    )
    world.store.values[b"0"] += text

    assert world.ask("take", {0: 1}, FOREVER).place.due > START + FIRM


def test_lease_takes_what_is_there_and_no_more():
    """P42: A lease takes its charge, and more as far as it is there; refused, nothing."""
    limit = Limit(b"key", Terms(5, 1))
    unit = limit.terms.unit
    question = Question("lease", [(limit, unit)], spare=10 * unit)

    answered, changes = answer(question, [None], START)
    assert (answered.wait, answered.spare) == (0, 4 * unit)
    refused, kept = answer(question, [changes[0].value], START)
    assert (refused.wait, refused.spare, kept) == (SECOND, 0, None)


def test_owe_for_more_than_can_be_counted_is_refused():
    """P5: A debt that no store can count is an error, and nothing is charged."""
    limit = Limit(b"key", Terms(10, 5))
    now = 2**53 - LONGEST
    question = Question("correct", [(limit, LONGEST * limit.terms.scale)])

    with pytest.raises(TooMuch, match="more than a century"):
        answer(question, [None], now)


CAREFUL = [
    *(None, "1790000000123457:315e3::10", "1790000002123457+5:315e3::10"),
    *("1790000001123457:315e3::10", "1789999990000000:315e3::10"),
    *("1790000000123457:315e3::20", "-000000000000005:315e3::10"),
    *("1790000002123457:315e3::10!1790000000123458", "9007199254740991:315e3::10"),
]


@each("text", CAREFUL)
@each("now", [1_790_000_000_123_457, 2**53 - 10])
@each("longest", [-1, 0, SECOND, FOREVER])
@each("tokens", [Fraction(1, 10**9), Fraction(1, 3), 1, 10, 11])
def test_take_at_once_is_as_the_rest_says(monkeypatch, text, now, longest, tokens):
    """P35: The short way of a take and the long one come to the same."""
    limit = Limit(b"key", Terms(10, 5))
    question = Question("take", [(limit, limit.terms.cost(tokens))], longest)

    quick = outcome(question, text, now)
    with monkeypatch.context() as patched:
        patched.setattr(algorithm, "_take_at_once", lambda *_: None)
        assert outcome(question, text, now) == quick


def outcome(question, text, now):
    """Return what a question comes to."""
    try:
        answered, changes = answer(question, [text], now)
    except TooMuch:
        return TooMuch
    return answered._replace(standings=list(answered.standings)), changes and changes[0].value


def test_digits_of_other_scripts_are_no_digits():
    """P33: Only what this wrote is read, also by the short way."""
    limit = Limit(b"key", Terms(10, 5))
    question = Question("take", [(limit, 1)])
    for text in ("\u0661" * 16 + limit.terms.text, "9" * 16 + limit.terms.text):
        with pytest.raises(Exception, match="not that of a bucket"):
            answer(question, [text], START)

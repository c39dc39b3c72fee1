"""Working copies, and the writes that make the originals like them."""

import inspect

import pytest

from rate_limiter.memory.draft import Draft, Table
from rate_limiter.memory.ledger import Ledger
from rate_limiter.memory.line import Line, Place, Waiter
from rate_limiter.memory.planning import Plan
from rate_limiter.memory.transaction import JOURNAL, Outdated, step
from rate_limiter.units import read_limit


def carry_out(draft):
    for write, *args in draft.writes():
        write(*args)


def make_ledger():
    return Ledger(read_limit(5, 1), 7)


def test_change_copy_leaves_the_original_until_it_is_carried_out():
    """P19: A step changes nothing; its writes do, and may be carried out twice."""
    ledger, draft = make_ledger(), Draft()
    draft[ledger].full_at = 9
    assert (ledger.full_at, draft[ledger].full_at) == (7, 9)

    writes = list(draft.writes())
    for _ in range(2):
        for write, *args in writes:
            write(*args)
        assert ledger.full_at == 9


def test_change_nothing_writes_nothing():
    """P5: What has only been looked at is not written."""
    ledger, line, draft = make_ledger(), Line(0), Draft()
    line.nodes[3] = 4
    assert draft[ledger].full_at == 7
    assert draft[line].nodes[3] == 4
    assert draft.get(Waiter(), None) is None

    assert list(draft.writes()) == []


def test_change_table_writes_key_by_key():
    """P38: Of a large table only what has changed is copied and written."""
    line, draft = Line(0), Draft()
    line.nodes.update(dict.fromkeys(range(1_000), 5))

    nodes = draft[line].nodes
    nodes[3] = 4
    nodes[7] = 0
    nodes[2_000] = 0
    assert (nodes[3], nodes[7], nodes[8], nodes[5_000]) == (4, 0, 5, 0)
    assert len(list(draft.writes())) == 3

    carry_out(draft)
    assert (line.nodes[3], 7 in line.nodes, len(line.nodes)) == (4, False, 999)


def test_add_new_thing_is_changed_itself():
    """What nobody knows yet needs no copy and no writes."""
    place, draft = Place(make_ledger(), Waiter(), 1, 1, 0), Draft()
    draft.add(place)
    draft[place].price = 9

    assert place.price == 9
    assert list(draft.writes()) == []


def test_set_and_wake_come_true_with_the_rest():
    """P19: Attributes of others and wake-ups are writes of the same step."""
    waiter, sleeper, draft = Waiter(), object(), Draft()
    draft.set(waiter, "alarm", 5)
    draft.wake(sleeper)
    draft.wake(sleeper)
    assert (waiter.alarm, JOURNAL.wakes) == (0, {})

    carry_out(draft)
    assert waiter.alarm == 5
    assert list(JOURNAL.wakes.values()) == [sleeper, sleeper]
    JOURNAL.wakes.clear()


def attributes(kind):
    """Return the names of all attributes that a class keeps in its instances, be it in C."""
    kept = inspect.ismemberdescriptor, inspect.isgetsetdescriptor
    named = [(name, value) for base in kind.__mro__[:-1] for name, value in vars(base).items()]
    return {name for name, value in named if any(is_kept(value) for is_kept in kept)}


@pytest.mark.parametrize("kind", [Ledger, Line, Place, Waiter, Plan])
def test_copy_has_every_attribute_of_its_kind(kind):
    """Each attribute is named as one that steps change, or as one that they do not."""
    ledger = make_ledger()
    thing = {
        Ledger: ledger,
        Line: Line(3),
        Place: Place(ledger, Waiter(), 2, 1, 0),
        Waiter: Waiter(),
        Plan: Plan(),
    }[kind]
    copy = Draft()[thing]

    assert attributes(kind) == {*kind.STATE, *kind.FIXED}
    for name in attributes(kind):
        assert getattr(copy, name) == getattr(thing, name) or type(getattr(thing, name)) is Table


def test_check_raises_once_something_else_was_published():
    """P19: A loop over what a handler has changed meanwhile might never end."""
    ledger, draft = make_ledger(), Draft()
    draft.check()

    step(lambda: (None, [(setattr, ledger, "full_at", 8)]))

    with pytest.raises(Outdated):
        draft.check()

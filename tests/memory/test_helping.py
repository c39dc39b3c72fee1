"""Steps that others interrupt again and again, and that end all the same."""

import pytest

from rate_limiter.memory.transaction import JOURNAL, step


class Account:
    """A level, and who has taken from it."""

    def __init__(self, level=100):
        self.level = level
        self.takers = ()


class Interrupted:
    """A computation that a handler interrupts each time, once it has read.

    Args:
        account: What it takes from, as the handler does.
        handlers: How many handlers come at most.
        act: What the handler does amid the computation.
    """

    def __init__(self, account, handlers, act):
        self.account, self.left, self.act = account, handlers, act
        self.amid, self.computed = False, 0

    def __call__(self, name):
        self.computed += 1
        writes = take(self.account, name)
        if self.left and not self.amid:
            self.left -= 1
            self.amid = True
            self.act()
            self.amid = False
        return writes


def take(account, name):
    """Compute a step that takes one token."""
    return account.level, [
        (setattr, account, "level", account.level - 1),
        (setattr, account, "takers", (*account.takers, name)),
    ]


def test_step_interrupted_each_time_is_carried_out_by_a_handler():
    """P19: A handler that comes whenever a step computes does not keep it from ending."""
    account = Account()
    compute = Interrupted(account, 1_000, lambda: step(take, account, "handler"))

    assert step(compute, "step") == 99
    assert account.takers == ("handler", "step", "handler")
    assert (compute.left, JOURNAL.stalled) == (998, None)
    assert JOURNAL.busy is JOURNAL.at_rest


def test_step_within_a_stalled_step_helps_the_outer_one_first():
    """P19: Of two steps that were held up, the one that came first is carried out first."""
    account = Account()
    inner = Interrupted(account, 1_000, lambda: step(take, account, "innermost"))
    outer = Interrupted(account, 1_000, lambda: step(inner, "inner"))

    step(outer, "outer")

    order = [name for name in account.takers if name != "innermost"]
    assert order[:2] == ["inner", "outer"]
    assert account.takers.count("outer") == 1
    assert account.level == 100 - len(account.takers)


def test_step_that_raises_when_helped_raises_where_it_was_begun():
    """P19: A helper keeps an error to the one whose step it is."""
    account = Account()

    def refuse(name):
        compute(name)
        if compute.computed > 1:
            raise ValueError(name)
        return take(account, name)

    compute = Interrupted(account, 1_000, lambda: step(take, account, "handler"))
    with pytest.raises(ValueError, match="mine"):
        step(refuse, "mine")
    assert "mine" not in account.takers
    assert JOURNAL.stalled is None


def test_step_whose_helper_reads_what_changes_meanwhile_is_helped_again():
    """P19: A helper that reads half of what a handler changes computes anew, as the step would."""
    account, torn = Account(), []

    class Torn(Interrupted):
        def __call__(self, name):
            writes = super().__call__(name)
            if self.amid and not torn:  # while it is helped, another handler comes, and it raises
                torn.append(name)
                step(take, account, "second")
                raise ValueError(name)
            return writes

    compute = Torn(account, 1_000, lambda: step(take, account, "first"))

    assert step(compute, "step") > 0
    assert account.takers.count("step") == 1
    assert torn == ["step"]


def test_step_whose_helper_is_interrupted_is_carried_out_once():
    """P19: A handler amid the helping finds what was published, and does it no second time."""
    account, levels = Account(), []

    class Slow(Interrupted):
        def __call__(self, name):
            if self.amid and not levels:  # a second handler comes while the first one helps
                levels.append(account.level)
                step(take, account, "second")
            return super().__call__(name)

    compute = Slow(account, 1_000, lambda: step(take, account, "first"))
    step(compute, "step")

    assert account.takers.count("step") == 1
    assert account.level == 100 - len(account.takers)
    assert len(levels) == 1

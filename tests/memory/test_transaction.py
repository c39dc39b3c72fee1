"""Several values change together, whatever comes in between."""

import sys
from operator import setitem
from threading import Thread

import pytest

from rate_limiter.memory import transaction
from rate_limiter.memory.transaction import JOURNAL, keep_to_steps, run, step


class Account:
    """Two values that must stay equal."""

    def __init__(self, level=5):
        self.a = self.b = level


def take(account, cost=1):
    """Compute a step that takes from both values."""
    if account.a < cost:
        return False, []
    return True, [
        (setattr, account, "a", account.a - cost),
        (setattr, account, "b", account.b - cost),
    ]


def check_free():
    """Let another thread go through a step."""
    thread = Thread(target=step, args=(take, Account()), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_step_makes_its_writes_true_and_returns_its_result():
    """All that a step returns is written before it ends."""
    account = Account()

    assert step(take, account, 3) is True
    assert (account.a, account.b) == (2, 2)


def test_step_without_writes_changes_nothing():
    """P5: A refusal writes nothing, and leaves what was published as it is."""
    account, record = Account(), JOURNAL.record

    assert step(take, account, 9) is False
    assert (account.a, account.b) == (5, 5)
    assert JOURNAL.record is record


@pytest.mark.parametrize("cost", [1, 4])
def test_step_interrupted_by_another_computes_anew(cost):
    """P19: A handler that changes what a step has read makes it read again."""
    account, left = Account(), [cost]

    def compute():
        result = take(account, 2)
        if left:  # a handler comes when it has read, before it has written
            step(take, account, left.pop())
        return result

    assert step(compute) is (cost == 1)
    assert account.a == account.b == 5 - cost - 2 * (cost == 1)


def test_step_that_refuses_on_what_a_handler_changed_computes_anew():
    """P37: A refusal is of the state that is there, not of one that was."""
    account, handlers = Account(0), [1]

    def compute():
        result = take(account)
        if handlers:
            handlers.pop()
            step(lambda: (None, [(setattr, account, name, 1) for name in "ab"]))
        return result

    assert step(compute) is True
    assert (account.a, account.b) == (0, 0)


def test_step_interrupted_amid_its_writes_is_finished_by_the_next():
    """P19: What has been published is carried out by whoever comes next."""
    account = Account()

    class Interrupting(list):
        def __iter__(self):
            yield super().__getitem__(0)
            raise KeyboardInterrupt

    JOURNAL.record = Interrupting(take(account)[1])
    with pytest.raises(KeyboardInterrupt):
        step(take, account)
    assert (account.a, account.b) == (4, 5)

    JOURNAL.record = list.__getitem__(JOURNAL.record, slice(None))  # the next is not interrupted
    step(take, account)
    assert (account.a, account.b) == (3, 3)


def test_step_within_writes_publishes_after_them():
    """P19: A handler amid the writes carries them out first, and neither is lost or done twice."""
    account, log = Account(), []

    def note(_, name, __):
        if not log:
            log.append(name)
            assert step(take, account)

    def compute():
        result, writes = take(account)
        return result, [writes[0], (note, log, "handler", None), writes[1]]

    assert step(compute) is True
    assert (account.a, account.b, log) == (3, 3, ["handler"])


def test_step_that_raises_leaves_the_lock_free_and_nothing_written():
    """P19: An error while a step computes changes nothing."""
    account = Account()

    with pytest.raises(TypeError):
        step(take, account, "nonsense")

    assert (account.a, account.b) == (5, 5)
    check_free()


def test_step_says_it_is_busy_while_it_computes_and_no_longer():
    """P18: The fast path keeps off while a step is under way, also in a step of a handler."""
    seen = []

    def compute():
        seen.append(JOURNAL.busy)
        if len(seen) < 2:
            step(compute)
            seen.append(JOURNAL.busy)
        return None, []

    step(compute)
    assert seen == [True, True, True]
    assert JOURNAL.busy is transaction._FREE_THREADED


class Sleeper:
    def __init__(self, error=None, then=None):
        self.woken, self._error, self._then = 0, error, then

    def wake(self):
        self.woken += 1
        if self._then is not None:
            self._then()
        if self._error is not None:
            raise self._error


def waking(*sleepers):
    return None, [(setitem, JOURNAL.wakes, object(), sleeper) for sleeper in sleepers]


def test_run_wakes_after_the_lock_is_free():
    """P38: No code of anybody else runs under the lock."""
    sleeper = Sleeper(then=check_free)

    run(waking, sleeper)

    assert (sleeper.woken, JOURNAL.wakes) == (1, {})


def test_run_wakes_everybody_whatever_one_wake_up_raises():
    """P16: A loop that fails when it is called is no business of who wakes others."""
    sleepers = Sleeper(RuntimeError("closed")), Sleeper()

    run(waking, *sleepers)

    assert [sleeper.woken for sleeper in sleepers] == [1, 1]
    assert not JOURNAL.wakes


def test_run_interrupted_while_waking_wakes_again_the_next_time():
    """P19: A wake-up too many does no harm, one too few would."""
    sleeper = Sleeper(KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        run(waking, sleeper)
    sleeper._error = None
    run(take, Account())

    assert (sleeper.woken, JOURNAL.wakes) == (2, {})


def test_run_wakes_who_is_added_meanwhile():
    """P19: A wake-up that wakes somebody else in turn loses nobody."""
    last = Sleeper()
    first = Sleeper(then=lambda: first.woken > 1 or run(waking, last))

    run(waking, first)

    assert last.woken == 1
    assert not JOURNAL.wakes


def test_run_wakes_although_the_list_changes_while_it_is_read(monkeypatch):
    """P19: A finalizer may add to those to be woken while they are being listed."""

    class Changing(dict):
        failures = 2

        def items(self):
            if self.failures:
                self.failures -= 1
                raise RuntimeError("dictionary changed size during iteration")
            return super().items()

    sleeper = Sleeper()
    monkeypatch.setattr(JOURNAL, "wakes", Changing())
    run(waking, sleeper)

    assert sleeper.woken == 1


@pytest.mark.parametrize("owned", [False, True])
def test_fork_takes_a_new_lock_unless_it_is_held_here(owned):
    """P20: A child is not held up by a lock whose holder stayed in the parent."""
    before = transaction._lock
    try:
        if owned:
            with before:
                transaction._take_new_lock()
        else:
            transaction._take_new_lock()
        assert (transaction._lock is before) is owned
        step(take, Account())
    finally:
        transaction._lock = before


def test_step_that_raises_on_what_a_handler_changed_computes_anew():
    """P19: Half of one state and half of another may make no sense; it is read again."""
    account, handlers = Account(), [1]

    def compute():
        if handlers:
            step(take, account, handlers.pop())
            raise AttributeError(name="half changed")
        return take(account)

    assert step(compute) is True
    assert (account.a, account.b) == (3, 3)


class Handler:
    """Runs something before the n-th line that runs in transaction.py."""

    def __init__(self, at, call):
        self.left, self._call = at, call

    def _trace(self, frame, event, _arg):
        if frame.f_code.co_filename != transaction.__file__:
            return None
        if event == "line":
            self.left -= 1
            if self.left == -1:
                self._call()
        return self._trace

    def comes_in(self, call):
        """Make a call; return whether the handler came before it was over."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(before)
        return self.left < 0


def test_keep_to_steps_leaves_a_step_under_way_alone():
    """P18: The fast paths come back only when the step that is under way is over."""
    resting, seen = JOURNAL.busy, []

    def compute():
        thread = Thread(target=keep_to_steps, args=[False], daemon=True)
        thread.start()
        thread.join(0.05)
        seen.append((JOURNAL.busy, thread))
        return None, []

    try:
        keep_to_steps(True)
        assert JOURNAL.busy
        step(lambda: (None, []))
        assert JOURNAL.busy
        step(compute)
    finally:
        keep_to_steps(False)
    busy, thread = seen[0]
    thread.join(5)
    assert (busy, JOURNAL.busy) == (True, resting)


@pytest.mark.parametrize("interrupted", [False, True])
def test_step_interrupted_at_any_line_counts_both(interrupted):
    """P19: Wherever a handler comes, its step and the one it interrupts come true once each."""
    for at in range(200):
        account, other = Account(), Account()

        def handle(account=account):
            step(take, account)
            if interrupted:
                JOURNAL.record = [*take(account)[1]]  # published, and interrupted at once

        came = Handler(at, handle).comes_in(lambda account=account: step(take, account, 2))
        step(take, other)
        assert account.a == account.b == 3 - came * (1 + interrupted)
        assert other.a == other.b == 4
        check_free()
        if not came:
            break
    assert 5 < at < 199

"""Running sums of a line, against sums that anybody can check."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from rate_limiter.memory.draft import Draft, Table
from rate_limiter.memory.line import Line
from rate_limiter.memory.sums import append, change, total

PRICES = st.one_of(st.integers(1, 100), st.fractions(Fraction(1, 7), 9, max_denominator=7))
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("join"), PRICES),
        st.tuples(st.just("leave"), st.integers(0, 10**6)),
        st.tuples(st.just("settle"), st.integers(0, 10**6), PRICES),
    ),
    max_size=60,
)


def carry_out(draft):
    for write, *args in draft.writes():
        write(*args)


def check(nodes, prices):
    sums = [total(nodes, number) for number in range(len(prices) + 1)]
    assert sums == [sum(prices[:number]) for number in range(len(prices) + 1)]


def follow(nodes, moves, prices):
    """Make the moves on the sums, and on a plain list."""
    for kind, what, *rest in moves:
        if kind == "join":
            prices.append(what)
            append(nodes, len(prices), what)
        elif prices:
            at = what % len(prices)
            extra = (rest[0] if rest else 0) - prices[at]
            prices[at] += extra
            change(nodes, at + 1, len(prices), extra)


@given(MOVES)
def test_follow_any_moves_gives_the_sum_up_to_each_place(moves):
    """P10: Whoever joins, leaves or settles, each place knows what those ahead of it cost."""
    nodes, prices = Table(), []
    follow(nodes, moves, prices)
    check(nodes, prices)


@given(MOVES, MOVES)
def test_follow_moves_in_a_step_changes_nothing_before_it_is_carried_out(before, moves):
    """P19: A step sees its own moves; others see none of them, or all."""
    line, prices = Line(0), []
    for some in (before, moves):
        draft, was = Draft(), list(prices)

        follow(draft[line].nodes, some, prices)

        check(line.nodes, was)
        check(draft[line].nodes, prices)
        carry_out(draft)
        check(line.nodes, prices)
        assert all(line.nodes.values())


def test_leave_everybody_leaves_no_memory():
    """P14: What has left takes no memory, whatever the order."""
    line, size = Line(0), 1_000
    for number in range(1, size + 1):
        append(line.nodes, number, Fraction(number, 3))
    draft = Draft()

    for number in sorted(range(1, size + 1), key=lambda number: number * 7 % 1_001):
        change(draft[line].nodes, number, size, -Fraction(number, 3))
    carry_out(draft)

    assert line.nodes == {}


class Counted(Table):
    """A table that counts how often it is read."""

    reads = 0

    def __getitem__(self, key):
        self.reads += 1
        return super().__getitem__(key)


def test_join_leave_and_ask_read_few_of_a_hundred_thousand():
    """P38: The sums of 100,000 places are read at no more than a few dozen of them."""
    nodes = Counted()
    for number in range(1, 100_001):
        nodes.reads = 0
        append(nodes, number, 1)
        assert nodes.reads <= 17
    for move in (lambda: total(nodes, 98_303), lambda: change(nodes, 1, 100_000, 5)):
        nodes.reads = 0
        move()
        assert 0 < nodes.reads <= 17

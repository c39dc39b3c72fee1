"""A table that is one test holds all its rows."""

import pytest

from each import each


def test_go_through_a_table_tells_of_every_row_that_fails():
    """A row that fails is named, and those after it are gone through as well."""
    seen = []

    @each("number", [1, 2, 3, 4])
    def is_odd(number):
        seen.append(number)
        assert number % 2, number

    with pytest.raises(BaseExceptionGroup, match="2 of 4 rows") as caught:
        is_odd()
    assert seen == [1, 2, 3, 4]
    assert [error.__notes__ for error in caught.value.exceptions] == [
        ["in row 1: 2"],
        ["in row 3: 4"],
    ]


def test_go_through_a_table_raises_the_one_failure_as_it_is():
    """What `pytest.raises` says is a failure as well; a huge number is not printed."""

    @each(("number", "error"), [(0, ZeroDivisionError), (10**5000, ZeroDivisionError)])
    def divides(number, error):
        with pytest.raises(error):
            1 // number

    with pytest.raises(pytest.fail.Exception, match="ZeroDivisionError") as caught:
        divides()
    assert caught.value.__notes__ == ["in row 1: an int of 16610 bits, " + repr(ZeroDivisionError)]


@each(("number", "square"), [(2, 4), (3, 9)])
def test_go_through_a_table_with_a_fixture_of_pytest(number, square, tmp_path):
    """Fixtures and rows come by their names."""
    assert number**2 == square
    assert tmp_path.is_dir()

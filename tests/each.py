"""One test for all rows of a table.

To pytest each test is a millisecond of work, and some kilobytes in each worker. Where a row takes
far less, and nothing of a row before it matters, its table is one test.
"""

import inspect
from functools import wraps

import pytest

FAILURES = (Exception, pytest.fail.Exception)


def each(names, rows):
    """Run a test for each row of a table, and tell of every row that fails.

    It is written as `pytest.mark.parametrize` is. Fixtures are made once for all rows.
    """
    names = (names,) if isinstance(names, str) else names
    table = [(row,) if len(names) == 1 else row for row in rows]
    assert table

    def decorate(test):
        @wraps(test)
        def go_through(**fixtures):
            failed = []
            for number, row in enumerate(table):
                try:
                    test(**fixtures, **dict(zip(names, row, strict=True)))
                except FAILURES as error:
                    error.add_note(f"in row {number}: {', '.join(map(shown, row))}")
                    failed.append(error)
            if len(failed) == 1:
                raise failed[0]
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(table)} rows", failed)

        signature = inspect.signature(test)
        rest = [each for name, each in signature.parameters.items() if name not in names]
        go_through.__signature__ = signature.replace(parameters=rest)
        return go_through

    return decorate


def shown(value):
    """Return a value in words; an int may have more digits than Python would print."""
    try:
        return repr(value)
    except ValueError:
        return f"an int of {value.bit_length()} bits"

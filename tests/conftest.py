"""What every test shares."""

from hypothesis import settings

# The same examples on every machine and every run: a failure is a change in the code.
settings.register_profile("repeatable", database=None, deadline=None, derandomize=True)
settings.load_profile("repeatable")

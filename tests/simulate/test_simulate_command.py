"""The command line does what it says, and teaches when it is used wrongly."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from rate_limiter.simulate import main
from rate_limiter.simulate.lines import LogFile

COMMAND = [sys.executable, "-m", "rate_limiter"]
LOG = "0 a\n0 b 2\n0.5 a\nnonsense\n1 a\n1.25 b\n"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log"
    path.write_text(LOG, encoding="utf-8")
    return str(path)


def run(capsys, *arguments):
    """Run the command; return its exit status, its output and what it complained of."""
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def counts_of(capsys, *arguments):
    status, output, errors = run(capsys, "simulate", *arguments, "--json")
    assert (status, errors) == (0, "")
    return json.loads(output)


def test_simulate_prints_a_report(log, capsys):
    """Without options there is a report for people."""
    status, output, errors = run(capsys, "simulate", log, "--rate", "1/second")
    assert (status, errors) == (0, "")
    assert output.startswith("1/second for each key\n")
    assert "1 line could not be read; line 4: 'seconds key [cost]' has 2 or 3 columns" in output


@pytest.mark.parametrize(
    ("options", "requests", "refused"),
    [
        (["--rate", "1/second"], 5, 2),
        (["--rate", "1/second", "--capacity", "2"], 5, 0),
        (["--rate", "2/second", "--rate", "2/hour"], 5, 2),
        (["--rate", "2/second; 2/hour"], 5, 2),
        (["--rate", "20/second", "--strict"], 5, 0),
        (["--rate", "1/second", "--together"], 5, 3),
        (["--rate", "1/second", "--only", "a"], 3, 1),
        (["--rate", "1/second", "--format", "columns"], 5, 2),
    ],
)
def test_simulate_counts_under_every_option(log, options, requests, refused, capsys):
    """Each option changes what is counted as it says."""
    counts = counts_of(capsys, log, *options)
    assert (counts["requests"], counts["refused"], counts["unreadable"]) == (requests, refused, 1)


def test_simulate_waits_instead_of_refusing(log, capsys):
    """With --wait nobody is refused, and the longest wait is told."""
    counts = counts_of(capsys, log, "--rate", "1/second", "--wait")
    assert (counts["refused"], counts["waited"], counts["longest_wait"]) == (0, 4, 1.0)


def test_simulate_json_lines_by_the_names_of_fields(tmp_path, capsys):
    """--time, --key and --cost name the fields of JSON lines."""
    path = tmp_path / "calls.jsonl"
    path.write_text('{"at": 0, "who": "a", "tokens": 7}\n{"at": 1, "who": "a", "tokens": 7}\n')
    options = ["--rate", "10/minute", "--time", "at", "--key", "who", "--cost", "tokens"]
    counts = counts_of(capsys, str(path), *options)
    assert (counts["requests"], counts["refused"]) == (2, 1)


def test_simulate_reads_standard_input_and_compressed_logs(log, tmp_path, monkeypatch, capsys):
    """The same log gives the same figures, however it comes."""
    wanted = counts_of(capsys, log, "--rate", "1/second")
    compressed = tmp_path / "log.gz"
    compressed.write_bytes(gzip.compress(LOG.encode()))
    assert counts_of(capsys, str(compressed), "--rate", "1/second") == wanted
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(LOG.encode())))
    monkeypatch.setattr("sys.stdin", stream)
    assert counts_of(capsys, "-", "--rate", "1/second") == wanted


def test_simulate_writes_a_row_for_each_request(log, tmp_path, capsys):
    """The CSV has what became of each request, in the order of the log."""
    path = tmp_path / "out.csv"
    rates = ["--rate", "1/second", "--rate", "3/hour"]
    assert run(capsys, "simulate", log, *rates, "--csv", str(path))[0] == 0
    assert list(csv.reader(path.read_text().splitlines())) == [
        ["time", "key", "cost", "result", "seconds", "refused_by"],
        ["0", "a", "1", "admitted", "0.0", ""],
        ["0", "b", "2", "refused", "", "1/second"],
        ["0.5", "a", "1", "refused", "0.5", "1/second"],
        ["1", "a", "1", "admitted", "0.0", ""],
        ["1.25", "b", "1", "admitted", "0.0", ""],
    ]
    waited = tmp_path / "waited.csv"
    run(capsys, "simulate", log, "--rate", "1/second", "--wait", "--csv", str(waited))
    assert "0.5,a,1,waited,0.5," in waited.read_text().splitlines()


def test_simulate_writes_times_before_zero_exactly(tmp_path, capsys):
    """A log's own time may begin below zero."""
    log, path = tmp_path / "log", tmp_path / "out.csv"
    log.write_text("-1.25 a\n")
    run(capsys, "simulate", str(log), "--rate", "1/second", "--csv", str(path))
    assert path.read_text().splitlines()[1].startswith("-1.25,a,")


def test_simulate_writes_keys_of_any_characters(tmp_path, capsys):
    """What a key of JSON can hold and UTF-8 cannot is escaped, wherever it is written."""
    log, path, plot = tmp_path / "log", tmp_path / "out.csv", tmp_path / "out.svg"
    log.write_text("".join(json.dumps({"time": 0, "key": key}) + "\n" for key in ("\ud800", "\0é")))
    files = ["--csv", str(path), "--plot", str(plot)]
    for options in ([], ["--json"], ["--only", "\ud800"]):
        assert run(capsys, "simulate", str(log), "--rate", "1/day", *files, *options)[0] == 0
        assert path.read_text("utf-8").splitlines()[1].startswith(r"0,\ud800,1,")


@pytest.mark.parametrize("first", ["0001-01-01T00:00:00+23:59", "1980-01-01", "5138-11-16"])
def test_simulate_times_as_far_as_they_are_read(first, tmp_path, capsys):
    """Whatever time is read can be shown and drawn; what is too far away is unreadable."""
    log, plot = tmp_path / "log", tmp_path / "out.svg"
    times = [first, "5138-11-16T09:46:39Z", "9999-12-31T23:59:59-23:59"]
    log.write_text("".join(json.dumps({"time": time, "key": "a"}) + "\n" for time in times))
    for options in ([], ["--wait"], ["--json"], ["--plot", str(plot)]):
        status, output, _ = run(capsys, "simulate", str(log), "--rate", "1/second", *options)
        assert status == 0
    assert "to 5138-11-16 09:46:39 UTC" in output
    assert "1 line could not be read; line 3: '9999-12-31T23:59:59-23:59' is not" in output


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "has no lines"),
        ("\n\n", "has no lines"),
        ("what\n", "could be read; line 1: 'seconds key [cost]' has 2 or 3 columns, it has 1"),
        ('{"at": 1}\n', "could be read; line 1: it has no field 'key'; it has at"),
    ],
)
def test_simulate_log_without_a_readable_line_exits_1(content, problem, tmp_path, capsys):
    """A log of which nothing can be read is told from one that is fine, and why is said."""
    path = tmp_path / "log"
    path.write_text(content)
    status, output, errors = run(capsys, "simulate", str(path), "--rate", "1/second")
    assert (status, output) == (1, "")
    assert problem in errors
    status, output, _ = run(capsys, "simulate", str(path), "--rate", "1/second", "--json")
    assert (status, json.loads(output)["requests"]) == (1, 0)


def test_simulate_key_that_is_not_there_exits_1(log, capsys):
    """A key that no line has is said to be none."""
    options = ["--rate", "1/second", "--only", "nobody"]
    status, _, errors = run(capsys, "simulate", log, *options)
    assert status == 1
    assert errors == f"no line of {log} has the key nobody\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "fast"], "a rate must look like '10/second', '100 per minute'"),
        (["--rate", ";"], "a rate must look like"),
        (["--rate", "1/second", "--rate", "9/hour", "--capacity", "2"], "a capacity goes with"),
        (["--rate", "1/second", "--strict"], "say it over a longer time"),
        (["--rate", "1/second", "--capacity", "0"], "capacity must be above 0"),
        (
            ["--rate", "1/second", "--capacity", "few"],
            "'few' is not a number; write it as 10 or 2.5",
        ),
        (["--rate", "1/second", "--only", "a", "--together"], "--only looks at the limit of one"),
        (["--rate", "1/second", "--csv", "/absent/out.csv"], "cannot write /absent/out.csv: No"),
        (["--rate", "1/second", "--plot", "out.xyz"], "--plot draws .png, .svg or .pdf, got out"),
        (["--rate", "1/second", "--plot", "/absent/out.png"], "cannot write /absent/out.png: No"),
        ([], "the following arguments are required: --rate"),
        (["--rate", "1/second", "--csv", "-"], "- is no file to write to"),
        (["--rate", "1/second", "--key", "ip"], "--key ip names a field, but the log is in the"),
        (["--rate", "1/second", "--cost", "tokens", "--format", "columns"], "--cost tokens names"),
        (["--rate", "1/second", "--time", "at", "--format", "access"], "--time at names a field"),
    ],
)
def test_use_wrongly_exits_2_and_teaches(log, options, message, capsys):
    """Each mistake is named, with what would be right."""
    status, _, errors = run(capsys, "simulate", log, *options)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors


def test_simulate_file_that_is_not_there_exits_2(tmp_path, capsys):
    """A missing log is no empty one."""
    status, _, errors = run(capsys, "simulate", str(tmp_path / "absent"), "--rate", "1/second")
    assert status == 2
    assert "No such file" in errors


@pytest.mark.parametrize("option", ["--csv", "--plot"])
def test_simulate_never_writes_over_its_log(option, tmp_path, capsys):
    """The log that is read is not the file that is written."""
    path = tmp_path / "log.png"
    path.write_text(LOG)
    arguments = ["simulate", str(path), "--rate", "1/second", option, str(path)]
    status, _, errors = run(capsys, *arguments)
    assert status == 2
    assert "is the log that is read" in errors
    assert path.read_text() == LOG


def test_print_into_what_is_no_file():
    """Output that cannot be set up, or has no encoding, gets plain characters."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(["explain", "1/second"]) == 0
    assert output.getvalue().isascii()


def test_explain_prints_what_a_limit_means(capsys):
    """The rates are given as they are, several in one or more words."""
    status, output, _ = run(capsys, "explain", "10/second; 1000/hour")
    assert (status, output) == run(capsys, "explain", "10/second", "1000/hour")[:2]
    assert output.startswith("10/second: 10 at once")
    assert run(capsys, "explain", "fast")[0] == 2


def test_interrupt_ends_quietly(log, monkeypatch, capsys):
    """Ctrl-C leaves no traceback."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(LogFile, "__iter__", interrupted)
    assert run(capsys, "simulate", log, "--rate", "1/second") == (130, "", "")


def python(*arguments, **options):
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=50, **options)  # noqa: S603 - our own code


def test_run_as_module_is_the_same_command(log, monkeypatch, capsys):
    """`python -m rate_limiter` does what `rate-limiter` does."""
    arguments = ["simulate", log, "--rate", "1/second"]
    monkeypatch.setattr("sys.argv", ["rate-limiter", *arguments])
    monkeypatch.delitem(sys.modules, "rate_limiter.__main__", raising=False)
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("rate_limiter", run_name="__main__")
    assert (caught.value.code, capsys.readouterr().out) == run(capsys, *arguments)[:2]
    runpy.run_module("rate_limiter", run_name="imported")


def test_run_in_a_process_writes_in_any_encoding(log):
    """Where the terminal has no blocks, the command ends well all the same."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    options = ["-m", "rate_limiter", "simulate", log, "--rate", "1/second"]
    result = python(*options, env=environment)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"asked     @" in result.stdout


def test_miss_matplotlib_says_what_to_install(log, monkeypatch, capsys):
    """Without matplotlib only the plot is missing, and that is said before a long log is read."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "rate_limiter.simulate.plot", raising=False)
    options = ["simulate", log, "--rate", "1/second"]
    status, output, errors = run(capsys, *options, "--plot", "out.png")
    assert (status, output) == (2, "")
    assert "pip install matplotlib" in errors
    assert run(capsys, *options)[0] == 0


def test_import_command_leaves_matplotlib_out():
    """The tables need nothing that is not in the standard library."""
    script = "import sys, rate_limiter.simulate; print('matplotlib' in sys.modules)"
    assert python("-c", script).stdout.split() == [b"False"]


def test_close_output_early_ends_quietly(log, monkeypatch):
    """`| head` leaves no traceback."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        assert main(["simulate", log, "--rate", "1/second"]) == 0


def test_simulate_only_an_address_means_its_client(tmp_path, capsys):
    """P44: An IPv6 address may be written for `--only` as it stands in the log, or as its /64."""
    log = tmp_path / "access.log"
    line = '{} - - [02/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5\n'
    addresses = ("2001:db8::1", "2001:db8::2", "2001:db8:1::1")
    log.write_text("".join(map(line.format, addresses)), encoding="utf-8")
    for only in ("2001:db8::2", "2001:db8::/64"):
        counts = counts_of(capsys, str(log), "--rate", "1/second", "--only", only)
        assert (counts["requests"], counts["refused"]) == (2, 1)
        _, report, _ = run(capsys, "simulate", str(log), "--rate", "1/second", "--only", only)
        assert report.startswith("1/second for 2001:db8::/64\n")


def test_simulate_numbers_that_no_decimal_has_costs_no_line(tmp_path, capsys):
    """A field that nobody asked for may hold any number; one that was asked for is explained."""
    log = tmp_path / "log.jsonl"
    log.write_text(
        '{"time":1,"key":1.5}\n'
        '{"time":2,"key":"a","size":1e9999999999999999999}\n'
        '{"time":3,"key":"a","size":1e-9999999999999999999}\n'
    )
    counts = counts_of(capsys, str(log), "--rate", "10/second")
    assert (counts["requests"], counts["keys"]) == (3, 2)
    assert counts_of(capsys, str(log), "--rate", "10/second", "--only", "1.5")["requests"] == 1

    status, _, errors = run(
        capsys, "simulate", str(log), "--rate", "10/second", "--key", "time", "--cost", "size"
    )
    assert status == 1
    assert "it has no field 'size'" in errors


def test_simulate_one_key_goes_by_the_times_of_all(tmp_path, capsys):
    """A line that comes late counts at the latest time, whoever has it made so late."""
    log = tmp_path / "log"
    log.write_text("10 bob\n0 ada\n5 ada\n6 ada\n")
    assert counts_of(capsys, str(log), "--rate", "1/second", "--only", "ada")["refused"] == 2


def test_simulate_waits_tells_worst_those_who_have_waited(tmp_path, capsys):
    """What is never admitted has not waited."""
    log = tmp_path / "log"
    log.write_text("0 a\n0 a 1e15\n0 a\n")
    counts = counts_of(capsys, str(log), "--rate", "1/day", "--wait")
    assert (counts["waited"], counts["refused"], counts["never_admitted"]) == (1, 1, 0)
    assert [key["waited"] for key in counts["worst_keys"]] == [1]


@pytest.mark.parametrize("line", ["\t", "\f", " \t ", ""])
def test_simulate_blank_lines_are_no_lines(line, tmp_path, capsys):
    """Whatever blanks they have."""
    log = tmp_path / "log"
    log.write_text(f"0 a\n{line}\n1 a\n")
    assert counts_of(capsys, str(log), "--rate", "1/day")["unreadable"] == 0


def test_simulate_never_writes_over_its_standard_input(tmp_path):
    """Nor over the log that the shell has opened for it."""
    log = tmp_path / "log"
    log.write_text(LOG)
    with log.open() as opened:
        told = command("simulate", "-", "--rate", "1/second", "--csv", str(log), stdin=opened)
    assert told.returncode == 2
    assert "is the log that is read" in told.stderr
    assert log.read_text() == LOG


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("lines", [1, 10_000])
def test_simulate_to_a_full_disk_exits_2_and_says_so(lines, tmp_path, capsys):
    """Status 1 is for a log of which no line could be read."""
    log = tmp_path / "log"
    log.write_text("0 a\n" * lines)
    status, _, errors = run(
        capsys, "simulate", str(log), "--rate", "1/second", "--csv", "/dev/full"
    )
    assert (status, "Traceback" in errors) == (2, False)
    assert "cannot write /dev/full: No space left" in errors


class Full(io.StringIO):
    """An output that takes no more."""

    def flush(self):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "arguments", [["simulate", "LOG", "--rate", "1/second"], ["explain", "1/day"]]
)
def test_print_to_a_full_disk_exits_2_and_says_so(arguments, log, monkeypatch, capsys):
    """So it is for the tables."""
    monkeypatch.setattr(sys, "stdout", Full())
    assert main([log if word == "LOG" else word for word in arguments]) == 2
    assert "cannot write the output: No space left" in capsys.readouterr().err


def test_simulate_standard_input_into_another_file(log, tmp_path, monkeypatch, capsys):
    """Any other file is written over."""
    path = tmp_path / "out.csv"
    path.write_text("of before")
    with Path(log).open() as opened:
        monkeypatch.setattr(sys, "stdin", opened)
        assert counts_of(capsys, "-", "--rate", "1/second", "--csv", str(path))["requests"] == 5
    assert path.read_text().startswith("time,key,cost,")


def test_simulate_with_a_closed_standard_input_exits_2(monkeypatch, capsys):
    """Python has none then."""
    monkeypatch.setattr(sys, "stdin", None)
    status, _, errors = run(capsys, "simulate", "-", "--rate", "1/second")
    assert status == 2
    assert "there is no standard input" in errors


@pytest.mark.parametrize(
    "arguments", [["simulate", "LOG", "--rate", "1/day"], ["explain", "1/day"]]
)
def test_print_to_a_closed_standard_output_exits_2(arguments, log, monkeypatch, capsys):
    """Python has none then."""
    monkeypatch.setattr(sys, "stdout", None)
    assert main([log if word == "LOG" else word for word in arguments]) == 2
    assert "there is no standard output" in capsys.readouterr().err


def test_simulate_writes_two_files(log, tmp_path, capsys):
    """One file is not written over by the other."""
    same = str(tmp_path / "same.png")
    status, _, errors = run(
        capsys, "simulate", log, "--rate", "1/second", "--csv", same, "--plot", same
    )
    assert status == 2
    assert "write to the same file" in errors


def command(*arguments, stdout=subprocess.PIPE, **options):
    """Run the command in a process of its own."""
    return subprocess.run(  # noqa: S603 - our own code
        [*COMMAND, *arguments],
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        **options,
    )


def test_explain_rates_that_are_far_apart_takes_no_minutes(capsys, tmp_path):
    """A picture that would take millions of requests is left out, and the text says so."""
    status, output, errors = run(capsys, "explain", "2/second", "1000000/week")
    assert (status, errors) == (0, "")
    assert "No picture of a busy spell" in output
    status, _, errors = run(capsys, "explain", "2/second", "1000000/week", "--plot", "out.png")
    assert status == 2
    assert "draw them one by one" in errors

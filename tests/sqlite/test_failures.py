"""Everything that can be wrong with a file is a BackendError, or the declared fallback (P41)."""

import errno
import os
import resource
import shutil
import sqlite3
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from processes import close_files, in_child

from rate_limiter import BackendError, RateLimitExceeded, TokenBucket
from rate_limiter.shared.failures import NoConnection, Refused
from rate_limiter.sqlite import SQLiteTokenBucket, database
from rate_limiter.sqlite.failures import failure_of
from rate_limiter.sqlite.mounts import network_of

NOBODY = 65_534


def test_directory_that_is_missing_is_refused(tmp_path):
    """P41: Nothing is made but the file itself."""
    bucket = SQLiteTokenBucket(tmp_path / "missing" / "limits.db", "b", 1, 1)
    with pytest.raises(Refused, match="directory exist"):
        bucket.allow()
    assert not list(tmp_path.iterdir())


def test_directory_in_place_of_a_file_is_refused(tmp_path):
    """P41: A path that leads to something else cannot be opened."""
    with pytest.raises(Refused, match="cannot be opened"):
        SQLiteTokenBucket(tmp_path, "b", 1, 1).allow()


def test_file_of_another_program_is_left_as_it_is(path, make_bucket):
    """P41: Another program's database is refused, and stays untouched."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute("INSERT INTO theirs VALUES (1)")
    connection.commit()
    before = path.read_bytes()
    with pytest.raises(Refused, match="another program"):
        make_bucket().allow()
    assert path.read_bytes() == before
    connection.close()


def test_file_that_names_another_program_is_refused(path, make_bucket, other):
    """P41: So is one that has no table yet, but says whose it is."""
    other().execute("PRAGMA application_id = 7")
    with pytest.raises(Refused, match="another program"):
        make_bucket().allow()


def test_file_of_another_version_is_refused(make_bucket, other):
    """P41: What a later version has made is not read as if it were ours."""
    make_bucket().allow()
    other().execute("PRAGMA user_version = 99")
    close_files()
    with pytest.raises(Refused, match="another version"):
        make_bucket().allow()


def test_empty_file_is_taken(path, make_bucket):
    """P41: A file that was made beforehand, as by `mktemp`, is as good as none."""
    path.touch()
    assert make_bucket().allow()


def test_file_that_is_no_database_is_refused(path, make_bucket):
    """P41: A text is no database."""
    path.write_text("no database" * 1000)
    with pytest.raises(Refused, match="damaged or not a database"):
        make_bucket().allow()


def test_file_that_is_damaged_is_refused(path, make_bucket, other):
    """P41: Pages that were overwritten are found out, and nobody is admitted by them."""
    for number in range(200):
        make_bucket(1, 0.001, name=f"{number} {'long' * 100}").allow()
    other().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    close_files()
    with pytest.raises(BackendError, match="damaged"):
        make_bucket(name="100").allow()


@pytest.mark.parametrize("what", ["file", "directory"])
def test_file_that_is_read_only_is_refused(what):
    """P41: Who may not write cannot decide."""
    folder = Path(tempfile.mkdtemp())
    path = folder / "limits.db"
    SQLiteTokenBucket(path, "b", 9, 1).allow()
    path.chmod(0o444)
    folder.chmod(0o777 if what == "file" else 0o555)

    def ask(write):
        if os.geteuid() == 0:
            os.setuid(NOBODY)
        with pytest.raises(Refused, match=r"may not write|cannot be opened"):
            SQLiteTokenBucket(path, "b", 9, 1).allow()

    try:
        in_child(ask)
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


def test_file_that_cannot_grow_is_a_failure(make_bucket, path):
    """P41: A limit on the size of files, a quota or a full disk fail the call, and take nothing."""
    make_bucket().allow()

    def ask(write):
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
        bucket = make_bucket(1000, 0.001, name="large")
        with pytest.raises(BackendError, match="disk or file system"):
            assert all(bucket.allow() for _ in range(1000))
        taken = 1000 - bucket.available_tokens
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert bucket.allow()
        assert 1000 - bucket.available_tokens == taken + 1

    in_child(ask)


def test_error_of_a_full_disk_says_so(path):
    """P41: SQLite's own word for a full disk has a hint."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    connection.close()
    assert "the disk is full (SQLITE_FULL)" in str(failure_of(caught.value))


def test_error_of_any_other_kind_is_a_failure():
    """P41: What has no hint is an error all the same."""
    assert type(failure_of(sqlite3.ProgrammingError("no such thing"))) is BackendError


def test_process_that_may_open_no_more_files_is_told(make_bucket):
    """P41: A shortage of this process is none of the file's."""

    def ask(write):
        bucket = make_bucket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        files = []
        with suppress(OSError):
            while True:
                files.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(NoConnection, match="no more files"):
            bucket.allow()
        for file in files:
            os.close(file)
        assert bucket.allow()

    in_child(ask)


def test_file_that_stays_locked_is_a_failure_in_time(make_bucket, other):
    """P31: Another program that keeps the file locked is waited for, for as long as was said."""
    bucket = make_bucket(busy_timeout=0.1)
    bucket.allow()
    holder = other()
    holder.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(BackendError, match=r"locked for 0\.1 s"):
        bucket.allow()
    assert 0.1 <= time.monotonic() - began < 5
    holder.execute("ROLLBACK")
    assert bucket.allow()


def test_file_that_is_new_and_locked_is_a_failure_in_time(path, make_bucket, other):
    """P31: So is one that cannot be prepared."""
    other().execute("BEGIN EXCLUSIVE")
    with pytest.raises(BackendError, match="locked"):
        make_bucket(busy_timeout=0.05).allow()


def test_file_that_is_deleted_is_made_anew(path, make_bucket):
    """P41: A file that was deleted meanwhile is noticed within 0.1 s, and costs one capacity."""
    bucket = make_bucket(2, 0.001)
    assert bucket.allow(2)
    for file in path.parent.iterdir():
        file.unlink()
    time.sleep(0.11)
    assert bucket.allow(2)
    assert not bucket.allow()
    close_files()
    assert not make_bucket(2, 0.001).allow()


def test_directory_that_is_deleted_is_noticed(path, make_bucket):
    """P41: Nobody is admitted from a file that is there no more."""
    bucket = make_bucket()
    bucket.allow()
    shutil.rmtree(path.parent)
    time.sleep(0.11)
    with pytest.raises(Refused):
        bucket.allow()


def test_file_that_is_replaced_while_it_is_opened_is_noticed(path, make_bucket, monkeypatch):
    """P41: Whoever has opened another file than the one at the path soon finds that out."""
    bucket, connect = make_bucket(2, 0.001), database._connect
    assert bucket.allow()
    close_files()

    def replaced(name):
        connection = connect(name)
        path.unlink()
        path.touch()
        return connection

    monkeypatch.setattr(database, "_connect", replaced)
    assert bucket.allow()
    monkeypatch.undo()
    for file in path.parent.glob("limits.db-*"):
        file.unlink()
    time.sleep(0.11)
    assert bucket.allow(2)
    assert path.stat().st_size > 0


def test_file_that_goes_away_while_it_is_opened_is_made_anew(path, make_bucket, monkeypatch):
    """P41: A file that was deleted before it was used is noticed as any other is."""
    bucket, read_start = make_bucket(2, 0.001), database.Database._read_start

    def gone(database):
        read_start(database)
        path.unlink()

    monkeypatch.setattr(database.Database, "_read_start", gone)
    assert bucket.allow()
    monkeypatch.undo()
    for file in path.parent.glob("limits.db-*"):
        file.unlink()
    time.sleep(0.11)
    assert bucket.allow(2)
    assert path.exists()


def test_error_of_the_system_is_a_refusal_or_the_fallback(make_bucket, monkeypatch):
    """P41: What the system says while the file is opened is not raised as it is."""

    def fail(*_):
        raise FileNotFoundError(errno.ENOENT, "secret path")

    monkeypatch.setattr(database.Database, "prepare", fail)
    with pytest.raises(Refused, match=r"cannot be opened.*\(FileNotFoundError\)"):
        make_bucket().allow()
    assert make_bucket(fallback="allow").allow()


def test_fallback_decides_while_the_file_cannot_be_used(tmp_path, clock):
    """P31: The declared fallback decides, and the file again once it is there."""
    path = tmp_path / "late" / "limits.db"
    terms = (path, "b", 1, 0.001)
    assert SQLiteTokenBucket(*terms, fallback="allow", clock=clock).allow(1)
    assert not SQLiteTokenBucket(*terms, fallback="deny", clock=clock).allow()
    local = SQLiteTokenBucket(*terms, fallback=TokenBucket(1, 0.001, clock=clock), clock=clock)
    assert (local.allow(), local.allow()) == (True, False)
    with pytest.raises(RateLimitExceeded):
        local.wait(timeout=0)
    path.parent.mkdir()
    clock.advance(1)
    assert (local.allow(), local.allow()) == (True, False)


def test_file_on_a_network_is_refused(make_bucket, path, monkeypatch):
    """P41: SQLite cannot share a file across a network."""
    monkeypatch.setattr(database, "network_of", lambda _: "nfs4")
    with pytest.raises(Refused, match=r"network file system \(nfs4\)"):
        make_bucket().allow()
    assert not path.exists()


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /mnt/net rw shared:2 master:7 - nfs4 server:/export rw
41 40 0:36 / /mnt/net/local rw - tmpfs tmpfs rw
42 22 0:37 / /mnt/with\\040space rw - cifs //server/share rw
43 22 0:38 / /home rw - fuse.sshfs there rw
44 43 8:2 / /home rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/run/limits.db", None),
        ("/mnt/net/limits.db", "nfs4"),
        ("/mnt/network/limits.db", None),
        ("/mnt/net/local/limits.db", None),
        ("/mnt/with space/limits.db", "cifs"),
        ("/home/limits.db", None),
        ("/mnt/net", "nfs4"),
    ],
)
def test_network_of_a_path_is_that_of_its_mount(tmp_path, path, kind):
    """P41: The nearest mount counts, and of two at one place the later one."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert network_of(path, mounts) == kind


def test_network_is_unknown_without_a_list(tmp_path):
    """P41: A system that does not tell is believed to be local."""
    assert network_of("/run/limits.db", tmp_path / "missing") is None


def test_error_of_a_process_without_files_is_none_of_the_store(tmp_path, monkeypatch):
    """P39: SQLite does not say that no file can be opened, so that is tried."""
    with pytest.raises(sqlite3.Error) as caught:
        sqlite3.connect(tmp_path)

    def refuse(*_):
        raise OSError(errno.EMFILE, "too many")

    assert type(failure_of(caught.value)) is Refused
    monkeypatch.setattr("rate_limiter.sqlite.failures.os.open", refuse)
    assert type(failure_of(caught.value)) is NoConnection


def test_file_that_somebody_else_makes_at_the_same_time_is_used(path, monkeypatch):
    """P41: Of two processes that make the file at once, one makes it."""
    database.open_database(str(path))
    seen = iter([False, True])
    monkeypatch.setattr(database.Database, "is_ours", lambda _: next(seen))
    assert database.open_database(str(path)).is_there()


def test_log_that_cannot_be_copied_is_copied_another_time(make_bucket, monkeypatch):
    """P41: The disk may fail when the log is copied; what was decided stands."""

    def fail(database):
        database.writes = 0
        raise sqlite3.OperationalError("disk I/O error")

    bucket = make_bucket(5000, 1)
    monkeypatch.setattr(database.Database, "copy_log", fail)
    assert all(bucket.allow() for _ in range(1100))
    assert bucket.available_tokens == 3900.0


def test_connection_that_cannot_roll_back_is_closed(make_bucket, monkeypatch):
    """P41: If even the end of a transaction fails, the file is opened anew."""
    bucket = make_bucket(5, 0.001)
    assert bucket.allow()

    def fail(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(database.Database, "roll_back", fail)
    monkeypatch.setattr(database.Database, "read", fail)
    with pytest.raises(BackendError):
        bucket.allow()
    monkeypatch.undo()
    assert bucket.available_tokens == 4.0

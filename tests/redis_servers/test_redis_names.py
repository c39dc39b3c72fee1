"""What buckets on a server are called: any name is a key of its own, and never code."""

import hashlib

import pytest
from redis_worlds import WORLDS, name_of

from rate_limiter import BackendError, BucketGroup

LONGEST = 65_536  # bytes
STRANGE = [
    *("'", '"', "`", "\\", "\\'", '"""', "']]", "]]--", "--[[", "%s%d%%", "{0}", "$(reboot)"),
    *("\n", "\r\n", "\0", "a\0b", "a\0c", "\x7f", "\x1b[31m", " ", "  ", "\t", "a ", " a"),
    *("{", "}", "{}", "{}a", "{a}", "}{", "{{a}}", "{a}{b}", ":", "::", "*", "?", "[a]", "a:b"),
    *("\r\n*1\r\n$8\r\nFLUSHALL\r\n", "'); redis.call('FLUSHALL') --", "KEYS[1]", "ARGV[1]"),
    *("é", "e\u0301", "É", "\u202e", "\ufeff", "\U0001f600", "\ud800", "\udcff", "ﬀ", "ff"),
    *("True", "None", "0", "00", "-0", "1e3", "nil", "NaN"),
    *(b"\xff", b"\xc3", b"\x80\x00", bytes(range(256)), b"\xff" * 1000),
]


@pytest.fixture(params=WORLDS, ids=name_of)
def world(request, redis_server):
    """Be a world before the server of all tests."""
    with request.param(redis_server) as world:
        yield world


@pytest.fixture
def named(world, name):
    """Give what makes a bucket of one token by its name, after a prefix of this test's own."""
    client = world.client()
    return lambda bucket: world.bucket(client, bucket, 1, prefix=name)


COLON = {str: (":", "."), bytes: (b":", b".")}  # which a prefix may not have, and what it may


def random_names(count):
    """Return byte strings of any length up to 32, the same in every run, and all different."""
    digests = (hashlib.sha256(b"%d" % number).digest() for number in range(count))
    return list({digest[: 1 + digest[0] % 32] for digest in digests})


def key_of(bucket):
    """Return the key that a bucket asks the server for."""
    [(limit, _)] = bucket._limits.everything()
    return limit.key


def test_make_10000_buckets_of_random_names_gives_10000_keys(named):
    """P33: Names that differ in whatever way are keys that differ in the same way."""
    names = random_names(12_000)
    assert len(names) > 10_000

    keys = {key_of(named(each)) for each in names}

    assert len(keys) == len(names)


def test_take_from_buckets_of_strange_and_random_names_finds_each_full(world, named, client, name):
    """P33: On the server as well each name has tokens of its own, and its key is its name."""
    names = [*STRANGE, *random_names(200)]
    buckets = [named(each) for each in names]

    assert [world.run(bucket.allow()) for bucket in buckets] == [True] * len(names)
    assert [world.run(bucket.allow()) for bucket in buckets] == [False] * len(names)

    encoded = [n.encode("utf-8", "surrogatepass") if isinstance(n, str) else n for n in names]
    assert set(client.scan_iter(f"{name}:*", 1_000)) == {f"{name}:".encode() + n for n in encoded}


@pytest.mark.parametrize("text", ["a", "é", "\U0001f600", "a\0b"])
def test_name_a_bucket_in_text_or_bytes_is_the_same(world, named, text):
    """P33: A name in text is its UTF-8, so that programs in other languages can share it."""
    assert world.run(named(text).allow())
    assert not world.run(named(text.encode()).allow())


class Text(str):
    """A string of a class of its own."""

    __slots__ = ()


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("p", b"p:%b"),
        (b"\xff", b"\xff:%b"),
        ("", b"%b"),
        (b"", b"%b"),
        ("a.b", b"a.b:%b"),
        (Text("t"), b"t:%b"),
        (None, b"rate_limiter:%b"),
    ],
)
def test_give_a_prefix_puts_it_before_the_name(world, client, name, prefix, key):
    """P33: The key is the prefix, a colon and the name, or the name alone."""
    options = {} if prefix is None else {"prefix": prefix}

    bucket = world.bucket(world.client(), Text(name), **options)
    quick = world.bucket_type.from_rate(world.client(), name, "1/second", **options)

    assert key_of(bucket) == key_of(quick) == key % name.encode()
    assert world.run(bucket.allow())
    assert client.exists(key % name.encode()) == 1
    client.delete(key % name.encode())


@pytest.mark.parametrize(
    "longest",
    ["a" * LONGEST, b"\0" * LONGEST, "é" * (LONGEST // 2), "\U0001f600" * (LONGEST // 4)],
    ids=["letters", "NUL", "2 bytes each", "4 bytes each"],
)
def test_name_a_bucket_at_length_goes_up_to_64_kib(world, named, client, name, longest):
    """P33: 65,536 bytes are a name, and distinct in the last one; 65,537 are none."""
    more = b"b" if isinstance(longest, bytes) else "b"
    other = longest[:-1] + more
    assert world.run(named(longest).allow())
    assert world.run(named(other).allow())
    assert not world.run(named(longest).allow())
    client.delete(key_of(named(longest)), key_of(named(other)))

    with pytest.raises(ValueError, match=r"^name must have 1 to 65536 bytes, got 65537$"):
        named(longest + more)


@pytest.mark.parametrize("empty", ["", b"", Text()])
def test_name_a_bucket_by_nothing_is_refused(named, empty):
    """P33: A bucket without a name would be shared by accident."""
    with pytest.raises(ValueError, match=r"^name must have 1 to 65536 bytes, got 0$"):
        named(empty)


@pytest.mark.parametrize(
    "wrong", [None, 1, 1.5, True, bytearray(b"a"), memoryview(b"a"), ["a"], ("a", "b"), object()]
)
@pytest.mark.parametrize("argument", ["name", "prefix"])
def test_name_a_bucket_by_what_is_no_text_is_refused(world, wrong, argument):
    """P33: Names and prefixes are str or bytes, and nothing is turned into one silently."""
    options = {"name": "name", "prefix": "prefix", argument: wrong}

    with pytest.raises(TypeError, match=rf"^{argument} must be str or bytes, got "):
        world.bucket(world.client(), **options)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("", "a:b")),
        (("", "a"), ("a", "a")),
        (("", ":a"), ("", "a")),
        (("a", ":b"), ("a", "b")),
    ],
)
def test_make_pairs_of_prefix_and_name_that_differ_gives_keys_that_differ(world, one, other):
    """P33: No prefix and name together are the key of another prefix and name."""
    client = world.make_client()
    keys = {key_of(world.bucket(client, name, prefix=prefix)) for prefix, name in (one, other)}
    assert len(keys) == 2


@pytest.mark.parametrize("prefix", ["a:b", ":", b"a:"])
def test_give_a_prefix_with_a_colon_is_refused_without_a_word_of_it(world, prefix):
    """P33: Otherwise "a:b" before "c" would be "a" before "b:c"."""
    with pytest.raises(
        ValueError, match=r"must not contain a colon, which is what ends it in a key$"
    ):
        world.bucket(world.make_client(), "c", prefix=prefix)


def test_use_buckets_of_any_name_leaves_one_script_on_the_server(make_server):
    """P33: The script's text is constant, whatever buckets are called, hold and are asked."""
    server = make_server()
    admin = server.client()
    for kind in WORLDS:
        with kind(server) as world:
            client, run = world.client(), world.run
            for number, each in enumerate([*STRANGE, *random_names(50)]):
                bucket = world.bucket(
                    client, each, number + 1.5, 3 + number, prefix=each.replace(*COLON[type(each)])
                )
                run(bucket.allow(0.5 + number / 7))
                group = BucketGroup(bucket, other=world.bucket(client, each, prefix="other"))
                run(run(group.reserve(20)).cancel())
                run(group.available_tokens)

    assert admin.info("memory")["number_of_cached_scripts"] == 1


@pytest.mark.parametrize("value", [b"", b"what is this?", b"1" * 16, b"1790000000123456x", b"\0"])
def test_show_or_fail_never_says_the_name(world, client, name, value):
    """P26: Neither the repr of a bucket nor an error has its name or its prefix in it."""
    client.set(f"prefix-{name}:{name}", value, ex=60)
    bucket = world.bucket(world.client(), name, prefix=f"prefix-{name}")

    with pytest.raises(BackendError) as failure:
        world.run(bucket.allow())

    assert name not in f"{bucket!r} {BucketGroup(bucket)!r} {failure.value!r}"

"""A limited class is that very class, and each new instance pays once."""

import abc
import copy
import dataclasses
import enum
import inspect
import pickle
import pydoc
from datetime import date
from typing import ClassVar, Generic, NamedTuple, TypeVar

import attrs  # comes with trio
import pytest

from rate_limiter import RateLimiter, RateLimitExceeded, TokenBucket, rate_limited
from rate_limiter.testing import ManualClock

LIMITER = RateLimiter(TokenBucket(10**6, 1e-3, clock=ManualClock()), block=False)
T = TypeVar("T")


def paid_by(call):
    """Return what a call returned, and what it paid."""
    before = LIMITER.bucket.available_tokens
    return call(), before - LIMITER.bucket.available_tokens


@LIMITER
class Own:
    """Has an `__init__`."""

    def __init__(self, size: int, *, name: str = "own") -> None:
        self.size = size

    @classmethod
    def alternate(cls, size):
        return cls(size)


class Base:
    def __init__(self, size: int) -> None:
        self.size = size


@LIMITER
class Inherits(Base):
    """Inherits its `__init__`."""


@LIMITER
class Slots:
    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size


@LIMITER
class New:
    """Has a `__new__` alone."""

    def __new__(cls, size: int) -> "New":
        made = super().__new__(cls)
        made.size = size
        return made

    def __getnewargs__(self):
        return (self.size,)


@LIMITER
class Pair(NamedTuple):
    size: int
    name: str = "pair"


@LIMITER
@dataclasses.dataclass
class Above:
    size: int


@dataclasses.dataclass
@LIMITER
class Below:
    size: int


@LIMITER
class Error(Exception):
    """Inherits the `__init__` of a class written in C."""

    size = property(lambda self: self.args[0])


@LIMITER
class OwnError(Exception):
    def __init__(self, size, *, name="own"):
        super().__init__(f"of size {size}")
        self.size = size

    def __reduce__(self):
        return type(self), (self.size,)


@LIMITER
class Day(date):
    """Is made again by what says how itself."""

    def __new__(cls, size):
        return super().__new__(cls, 2000, 1, size)

    def __reduce_ex__(self, protocol):
        return type(self), (self.day,)

    size = property(lambda self: self.day)


@LIMITER
class Rebuilt:
    """Is made again by a constructor of its own."""

    def __init__(self, size):
        self.size = size

    @classmethod
    def rebuild(cls, size):
        return cls(size)

    def __reduce__(self):
        return self.rebuild, (self.size,)


@LIMITER
class Mapping(dict):
    size = property(len)

    def __init__(self, size):
        super().__init__(dict.fromkeys(range(size)))


@LIMITER
class Abstract(abc.ABC):
    @abc.abstractmethod
    def fetch(self):
        """Fetch."""


@LIMITER
class Box(Generic[T]):
    def __init__(self, size: T) -> None:
        self.size = size


class Sub(Own):
    """Has no `__init__` of its own."""


class SubCalling(Own):
    def __init__(self, size):
        super().__init__(size)


class SubError(Error):
    """Inherits a limit."""


KINDS = [
    Own,
    Inherits,
    Slots,
    New,
    Pair,
    Above,
    Below,
    Error,
    OwnError,
    Day,
    Rebuilt,
    Mapping,
    Box,
    Sub,
    SubCalling,
    SubError,
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@every_kind
def test_make_instance_of_limited_class_pays_once(kind):
    """A new instance is of that very class, and has paid once."""
    made, tokens = paid_by(lambda: kind(3))
    assert type(made) is kind
    assert (made.size, tokens) == (3, 1)


@every_kind
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))],  # noqa: S301
    ids=["copy", "deepcopy", "pickle"],
)
def test_duplicate_instance_of_limited_class_pays_nothing(kind, duplicate):
    """An instance that is copied or unpickled is no new one."""
    made = kind(3)
    again, tokens = paid_by(lambda: duplicate(made))
    assert type(again) is kind
    assert (again.size, tokens) == (3, 0)
    assert paid_by(lambda: kind(4).size) == (4, 1)


@every_kind
def test_use_limited_class_as_a_class(kind):
    """`match`, `issubclass`, `help` and pickling by name work as without a limit."""
    match kind(3):
        case kind(size=size):
            assert size == 3
    assert isinstance(kind, type)
    assert issubclass(type("Other", (kind,), {}), kind)
    assert kind.__name__ in pydoc.render_doc(kind)
    assert pickle.loads(pickle.dumps(kind)) is kind  # noqa: S301
    assert kind.limiter is LIMITER


def test_make_instance_by_other_ways_pays_as_well():
    """Alternate constructors, generic aliases and subclasses call the class, which is limited."""
    assert paid_by(lambda: Own.alternate(3).size) == (3, 1)
    assert paid_by(lambda: Sub.alternate(3).size) == (3, 1)
    assert paid_by(lambda: Box[int](3).size) == (3, 1)
    assert paid_by(lambda: dataclasses.replace(Above(3), size=4).size) == (4, 2)


def test_catch_limited_exception():
    """A limited exception is raised and caught as before."""
    with pytest.raises(Error, match="no"):
        raise Error("no")


def test_remake_instance_pays_for_what_it_makes_of_others():
    """What an unpickled instance makes besides itself is new, and pays."""
    made = Holder(3)
    again, tokens = paid_by(lambda: copy.copy(made))
    assert (again.inner.size, tokens) == (3, 1)


@LIMITER
class Holder(Exception):
    def __init__(self, size):
        super().__init__(size)
        self.inner = OwnError(size)

    def __reduce__(self):
        return Holder, self.args


def test_reduce_to_a_name_stays_a_name():
    """An instance that is pickled by its name stays so."""
    assert Named("NAMED").__reduce_ex__(4) == "NAMED"
    assert paid_by(lambda: copy.copy(NAMED)) == (NAMED, 0)


@LIMITER
class Named:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return self.name


NAMED = Named("NAMED")


@pytest.mark.parametrize(
    ("kind", "signature"),
    [
        (Own, "(size: int, *, name: str = 'own') -> None"),
        (Inherits, "(size: int) -> None"),
        (New, "(size: int) -> 'New'"),
        (Pair, "(size: int, name: str = 'pair')"),
        (Above, "(size: int) -> None"),
        (Below, "(size: int) -> None"),
        (Abstract, "()"),
    ],
)
def test_ask_limited_class_for_its_signature(kind, signature):
    """The signature of a class is the one that it had, where it had one."""
    assert str(inspect.signature(kind)) == signature
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(Error)


def test_call_limited_class_with_what_it_does_not_take_is_an_error():
    """A class without an `__init__` refuses arguments in the words of Python."""

    @LIMITER
    class Empty:
        pass

    class WithArgument(Empty):
        def __init__(self, size):
            super().__init__()

    assert type(Empty()) is Empty
    assert type(WithArgument(3)) is WithArgument
    with pytest.raises(TypeError, match=r"Empty\(\) takes no arguments"):
        Empty(1)
    with pytest.raises(TypeError, match=r"Empty\(\) takes no arguments"):
        Empty(size=1)


def test_refuse_instance_of_limited_class_does_not_initialize_it():
    """P5: An instance that is refused has not been initialized, and has taken nothing."""
    made = []
    limiter = RateLimiter(TokenBucket(1, 1, clock=ManualClock()), block=False)

    @limiter
    class Session:
        def __init__(self):
            made.append(self)

    Session()
    with pytest.raises(RateLimitExceeded):
        Session()
    assert len(made) == 1


def test_price_instance_by_self_and_arguments():
    """A cost callable and a key get `self` and the arguments of `__init__`."""
    seen = []

    @LIMITER.cost(lambda self, size, **_: seen.append((type(self), size)) or size)
    class Session(Base):
        rank = 2

    assert paid_by(lambda: Session(size=5).size) == (5, 5)
    assert seen == [(Session, 5)]

    @rate_limited(1, 1, key=lambda self, size: size, block=False, clock=ManualClock())
    class Keyed(Base):
        pass

    assert (Keyed(1).size, Keyed(2).size, len(Keyed.limiter)) == (1, 2, 2)
    with pytest.raises(RateLimitExceeded):
        Keyed(1)


def test_limit_class_twice_pays_both_and_shows_the_outer():
    """Two limits on a class are both paid, and `.limiter` is the outer one."""
    other = RateLimiter(TokenBucket(10, 1, clock=ManualClock()))
    for body in ({}, {"__init__": lambda self: None}):
        twice = other(LIMITER(type("Twice", (), body)))
        assert paid_by(lambda made=twice: type(made()))[1] == 1
        assert twice.limiter is other
        assert twice.__init__.limiter is other
    assert other.bucket.available_tokens == 8


def test_inherit_through_limited_class_in_a_diamond():
    """A limited class without an `__init__` hands on to whatever comes next for the instance."""
    seen = []

    class Root:
        def __init__(self, **rest):
            seen.append(("Root", rest))

    @LIMITER
    class Left(Root):
        pass

    class Right(Root):
        def __init__(self, size, **rest):
            seen.append(("Right", size))
            super().__init__(**rest)

    class Both(Left, Right):
        pass

    assert paid_by(lambda: type(Both(size=1, name=2))) == (Both, 1)
    assert seen == [("Right", 1), ("Root", {"name": 2})]


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"slots": True}, {"kw_only": True}])
def test_make_dataclass_of_limited_class(options):
    """A dataclass above a limit gets the `__init__` that it would have had, limited."""

    @dataclasses.dataclass(**options)
    @LIMITER
    class Row:
        size: int
        names: list[str] = dataclasses.field(default_factory=list)
        extra: dataclasses.InitVar[int] = 4
        kind: ClassVar[str] = "row"

        def __post_init__(self, extra):
            object.__setattr__(self, "size", self.size + extra)

    row, tokens = paid_by(lambda: Row(size=1, extra=2))
    assert (row.size, row.names, tokens) == (3, [], 1)
    assert list(inspect.signature(Row).parameters) == ["size", "names", "extra"]
    with pytest.raises(TypeError, match="missing 1 required"):
        Row()


def test_make_dataclass_without_init_of_limited_class():
    """A dataclass that is told to make no `__init__` makes none."""

    @dataclasses.dataclass(init=False)
    @LIMITER
    class Row(Base):
        name: str = "row"

    assert paid_by(lambda: Row(3).size) == (3, 1)


@pytest.mark.parametrize("slots", [True, False])
def test_make_attrs_class_of_limited_class(slots):
    """An attrs class has its limit above and below the decorator."""

    @attrs.define(slots=slots)
    @LIMITER
    class Below:
        size: int

    @LIMITER
    @attrs.define(slots=slots)
    class Above:
        size: int

    assert paid_by(lambda: (Below(size=3).size, Above(3).size)) == ((3, 3), 2)
    assert inspect.signature(Below) == inspect.signature(Above)


def test_call_limited_init_for_another_class():
    """An `__init__` that is borrowed by another class initializes as it does at home."""

    class Borrows:
        __init__ = Inherits.__init__

    assert paid_by(lambda: type(Borrows())) == (Borrows, 1)
    assert paid_by(lambda: Inherits(3).size) == (3, 1)


def test_limit_class_that_has_a_limiter_keeps_its_own():
    """A class attribute of that name stays, and instances get none that they had not."""

    @LIMITER
    class Own:
        limiter = "own"

    @LIMITER
    class InSlot:
        __slots__ = ("limiter",)

        def __init__(self):
            self.limiter = "slot"

    assert (Own.limiter, Own().limiter, InSlot().limiter) == ("own", "own", "slot")
    assert Own.__init__.limiter is InSlot.__init__.limiter is LIMITER
    assert not hasattr(Inherits(1), "limiter")


def test_limit_class_that_cannot_be_changed_wraps_it():
    """Built-in classes and enumerations stay as they are; what is called pays."""

    class Color(enum.Enum):
        RED = 1

    limited = LIMITER(Color)
    assert paid_by(lambda: limited(1)) == (Color.RED, 1)
    assert isinstance(limited.RED, limited)
    assert inspect.signature(limited) == inspect.signature(Color)
    assert paid_by(lambda: Color(1)) == (Color.RED, 0)
    words = LIMITER.cost(len)(list)
    assert paid_by(lambda: words("abc")) == (["a", "b", "c"], 3)
    assert (words.limiter, list("a")) == (LIMITER, ["a"])


def test_limit_class_whose_metaclass_keeps_instances():
    """A class that makes one instance only pays for that one."""

    class Keeps(type):
        made: ClassVar[dict[type, object]] = {}

        def __call__(cls):
            if cls not in cls.made:
                cls.made[cls] = super().__call__()
            return cls.made[cls]

    single = LIMITER(Keeps("Single", (), {}))
    assert [paid_by(single)[1], paid_by(single)[1]] == [1, 0]

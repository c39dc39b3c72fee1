from collections.abc import Callable
from typing import Any

INTERFACE: int
SOURCE: int

class LimitFields: ...

class LedgerFields:
    closed_until: Any
    fast: Any
    full_at: Any
    limit: Any
    line: Any

class PermitFields:
    _after: Any
    _door: Any
    _paid: Any
    _payer: Any
    _state: Any
    _tokens: Any
    _waited: Any

def twin(name: str, python: Callable[..., Any], /) -> Any: ...
def layout(kind: str, owner: type[Any], /, *marks: str) -> Any: ...
def function_wrapper(python: type[Any], /) -> Any: ...
def set_call(wrapper: object, /, *call: Any) -> None: ...
def watch(journal: object, /) -> None: ...

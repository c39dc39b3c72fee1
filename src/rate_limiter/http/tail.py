"""The last bytes of a body that passes, decoded, and what is needed of the first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from .decoding import Decoder, decoder_for

__all__ = ["HEAD", "TAIL", "BodyEnd", "Tail"]

HEAD = 4 * 1024  # bytes that are kept of the beginning, where a stream says what went in
TAIL = 64 * 1024  # bytes that are kept of the end


class BodyEnd(bytes):
    """The end of a body: bytes as any.

    Attributes:
        head: How the body began, if it was longer than its end; else empty.
    """

    head: bytes

    def __new__(cls, end: bytes, head: bytes = b"") -> Self:
        """Return the end of a body that began like this."""
        self = super().__new__(cls, end)
        self.head = head
        return self


class Tail:
    """Keeps the last 64 KiB of what it is fed, and the first 4 KiB.

    Args:
        encoding: The `Content-Encoding` of what it will be fed; empty if that is decoded already.
            An encoding that nothing here can decode is kept as it comes.
    """

    def __init__(self, encoding: str = "") -> None:
        self._decode: Decoder | None = decoder_for(encoding)
        self._head = b""
        self._kept = bytearray()
        self._length = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            Exception: They are not what the encoding says; what kind depends on the decoder.
        """
        for piece in self._decoded(data):
            self._head += piece[: HEAD - len(self._head)]
            self._kept += piece
            self._length += len(piece)
            if len(self._kept) > 2 * TAIL:  # seldom, so that a long body costs little
                del self._kept[:-TAIL]

    def _decoded(self, data: bytes) -> Iterable[bytes]:
        return (data,) if self._decode is None else self._decode(data)

    def bytes(self) -> BodyEnd:
        """Return what is kept."""
        head = self._head if self._length > TAIL else b""
        return BodyEnd(bytes(self._kept[-TAIL:]), head)

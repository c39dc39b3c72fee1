"""The last bytes of a body that passes, decoded."""

from __future__ import annotations

from collections.abc import Iterable

from .decoding import Decoder, decoder_for

__all__ = ["TAIL", "Tail"]

TAIL = 64 * 1024  # bytes that are kept


class Tail:
    """Keeps the last 64 KiB of what it is fed.

    Args:
        encoding: The `Content-Encoding` of what it will be fed; empty if that is decoded already.
            An encoding that nothing here can decode is kept as it comes.
    """

    def __init__(self, encoding: str = "") -> None:
        self._decode: Decoder | None = decoder_for(encoding)
        self._kept = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            Exception: They are not what the encoding says; what kind depends on the decoder.
        """
        for piece in self._decoded(data):
            self._kept += piece
            if len(self._kept) > 2 * TAIL:  # seldom, so that a long body costs little
                del self._kept[:-TAIL]

    def _decoded(self, data: bytes) -> Iterable[bytes]:
        return (data,) if self._decode is None else self._decode(data)

    def bytes(self) -> bytes:
        """Return what is kept."""
        return bytes(self._kept[-TAIL:])

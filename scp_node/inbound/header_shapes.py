"""Headers laid out like one before: where their elements lie is then known, and has only to be confirmed.

Planes of a series have the same elements, of the same lengths but for a few. To walk from element to element takes
most of the time that a header takes; to compare all their tags, representations and lengths with those of an earlier
header is one call. Where they are equal the walk would have gone the same way, step by step.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

Span = tuple[int, int, int]
"""Where an element begins, where its value does, and where it ends."""

_MOST_LENGTHS = 64
_MOST_OF_ONE_LENGTH = 4
"""Two headers of one length may differ in where it comes from: one number is longer, another one shorter."""
_MOST_ELEMENTS = 512
"""Of a header that is remembered; no stranger shall fill the memory with them."""
_UNDEFINED = b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderShape:
    """Where the elements of a header lie up to its pixels."""

    spans: Mapping[int, Span]
    """By tag, in their order, one behind the other from 0 on."""
    pixel_offset_bytes: int
    """Where the value of Pixel Data begins."""
    pixel_length_bytes: int
    heads: struct.Struct
    """Reads what stands before each value: tag, representation and length."""
    expected: tuple[bytes, ...]
    wholes: struct.Struct
    """Reads each element whole."""

    @classmethod
    def learned(cls, content: bytes, spans: Mapping[int, Span], pixels: tuple[int, int]) -> Self | None:
        """The shape of a header that was walked; ``None`` if confirming it would take more than its elements' heads."""
        if len(spans) > _MOST_ELEMENTS:
            return None
        # Where an element of undefined length ends depends on what is in it.
        if any(content[value - 4 : value] == _UNDEFINED for _, value, _ in spans.values()):
            return None
        end = max((end for _, _, end in spans.values()), default=0)
        heads = "".join(f"{value - begin}s{end - value}x" for begin, value, end in spans.values())
        reader = struct.Struct(f"<{heads}{pixels[0] - end}s")
        return cls(
            spans=spans,
            pixel_offset_bytes=pixels[0],
            pixel_length_bytes=pixels[1],
            heads=reader,
            expected=reader.unpack_from(content),
            wholes=struct.Struct("<" + "".join(f"{end - begin}s" for begin, _, end in spans.values())),
        )

    def fits(self, content: bytes) -> bool:
        """Whether a header has this very shape."""
        return len(content) >= self.heads.size and self.heads.unpack_from(content) == self.expected

    def raw_elements(self, content: bytes) -> dict[int, bytes]:
        """Whole elements by tag of a header that has this shape."""
        return dict(zip(self.spans, self.wholes.unpack_from(content), strict=True))


class HeaderShapes:
    """Remembers the last shapes by a length that headers of one shape have in common; safe for many threads.

    Of two threads that learn at once one may forget what the other learned, which costs another walk and nothing else.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, bool], tuple[HeaderShape, ...]] = OrderedDict()

    def find(self, content: bytes, length_bytes: int, *, explicit: bool) -> HeaderShape | None:
        """The shape that a header has, if it is remembered.

        Parameters
        ----------
        content : bytes
            The beginning of the data set.
        length_bytes : int
            Of the whole data set, or of its header; always the same of the two.
        explicit : bool
            Whether the transfer syntax has explicit VRs.
        """
        return next((one for one in self._known.get((length_bytes, explicit), ()) if one.fits(content)), None)

    def remember(self, shape: HeaderShape, length_bytes: int, *, explicit: bool) -> None:
        """Take a shape that was not found."""
        key = length_bytes, explicit
        self._known[key] = (shape, *self._known.pop(key, ()))[:_MOST_OF_ONE_LENGTH]
        while len(self._known) > _MOST_LENGTHS:
            self._known.popitem(last=False)

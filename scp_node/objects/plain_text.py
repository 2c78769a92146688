"""Generated sentences in plain ASCII, so that they are legal in whatever character set the images brought along.

A character outside the character set of a data set would silently become a question mark when written.
"""

from __future__ import annotations

import unicodedata

_SPELLED = str.maketrans(
    {
        "≥": ">=",
        "≤": "<=",
        "±": "+/-",
        "×": "x",
        "·": "*",
        "→": "->",
        "–": "-",
        "—": "-",
        "−": "-",
        "‘": "'",
        "’": "'",
        "“": '"',
        "”": '"',
        "…": "...",
        "°": " deg",
        "µ": "u",
        "μ": "u",
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "œ": "oe",
    }
)


def plain(text: str, limit: int | None = None) -> str:
    """ASCII form of a text on one line.

    Signs are spelled (``≥`` becomes ``>=``), accents dropped, control characters become spaces, what is left over
    becomes ``?``. With a limit, a longer text is cut and ends in ``...``.
    """
    spelled = unicodedata.normalize("NFKD", text.translate(_SPELLED))
    base = "".join(sign for sign in spelled if not unicodedata.combining(sign))
    ascii_text = base.encode("ascii", errors="replace").decode("ascii")
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in ascii_text).split())
    if limit is None or len(line) <= limit:
        return line
    return line[: limit - 3].rstrip() + "..."


def without_control_characters(text: str) -> str:
    """Text as it is, less its control characters, which no text of a header may hold."""
    return "".join(sign for sign in text if unicodedata.category(sign) != "Cc")

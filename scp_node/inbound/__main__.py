"""Start one receiver process; see ``listener``."""

import sys

_DECODERS = ("gdcm", "PIL")
"""pydicom loads what is installed of these, some 20 MB of it."""


def _forbid_decoders() -> None:
    """Keep image decoders out of this process: pixels are decoded in the analyzer's child only, never at the door."""
    for name in _DECODERS:
        # So Python writes that a module must not be imported.
        sys.modules[name] = None  # type: ignore[assignment]


if __name__ == "__main__":
    _forbid_decoders()

    from scp_node.inbound.listener import main

    sys.exit(main(sys.argv[1:]))

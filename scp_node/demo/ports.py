"""Ports of the loopback interface that nobody has, nor is given before a server of ours comes to listen there."""

import secrets
import socket

LOWEST, HIGHEST = 20_000, 32_767
"""Below what Linux gives to outgoing connections, and to whoever asks for any port (32768 to 60999 as it comes)."""
_TRIES = 200


def free_port() -> int:
    """A port that is free at this moment, of those that are never given away unasked.

    Raises
    ------
    OSError
        If none of many that were tried is free.
    """
    for _ in range(_TRIES):
        # Not by the module random: two programs with the same seed would take the same one.
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST + 1)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"none of {_TRIES} ports between {LOWEST} and {HIGHEST} is free on 127.0.0.1")

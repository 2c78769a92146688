"""Transaction UIDs of storage commitment, which tell the peer that was asked.

A report names its transaction and nobody else: not who sends it, nor, when it comes late, what we have asked since. A
slow archive may answer every request after the next one was made; so a report must be recognised as an answer to one
of our requests to that peer even when the delivery has forgotten that transaction.
"""

from __future__ import annotations

import hashlib
import uuid

_NONCE_BYTES = 6
_PROOF_BYTES = 7
_PREFIX = "2.25."


def transaction_uid(peer: str, entropy: bytes) -> str:
    """A fresh UID of the form ``2.25.`` + UUID (PS3.5 annex B.2).

    Parameters
    ----------
    peer : str
        Name of the peer that is asked.
    entropy : bytes
        At least 9 random bytes.
    """
    nonce = entropy[:_NONCE_BYTES]
    # Version and variant of the UUID fall into the three bytes between nonce and proof.
    middle = entropy[_NONCE_BYTES : 16 - _PROOF_BYTES]
    made = uuid.UUID(bytes=nonce + middle + _proof(peer, nonce), version=4)
    return f"{_PREFIX}{made.int}"


def asked_of(peer: str, transaction: str) -> bool:
    """Tell whether a transaction is one of ours with that peer."""
    number = transaction.removeprefix(_PREFIX)
    if not transaction.startswith(_PREFIX) or not number.isdecimal() or int(number) >= 1 << 128:
        return False
    content = int(number).to_bytes(16, "big")
    return content[-_PROOF_BYTES:] == _proof(peer, content[:_NONCE_BYTES])


def _proof(peer: str, nonce: bytes) -> bytes:
    return hashlib.sha256(nonce + peer.encode()).digest()[:_PROOF_BYTES]

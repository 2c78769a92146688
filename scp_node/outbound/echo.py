"""C-ECHO: whether the peer is there, and knows us."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pydicom.uid import ImplicitVRLittleEndian

from scp_node.dimse.services import VERIFICATION
from scp_node.dimse.statuses import SUCCESS, status_text
from scp_node.errors import DeliveryError
from scp_node.outbound.link import linked, terms_of
from scp_node.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoResult:
    """What came of it."""

    answered: bool
    sentence: str
    """For the operator."""
    seconds: float
    status: int | None = None


def echo(settings: Settings, peer: str) -> EchoResult:
    """Ask a peer that receives."""
    begun_s = time.monotonic()
    try:
        terms = terms_of(settings, peer)
        with linked(terms, [(VERIFICATION, ImplicitVRLittleEndian)]) as link:
            answer = link.association.send_c_echo()
            status = int(answer.Status) if "Status" in answer else None
    except DeliveryError as fault:
        return EchoResult(answered=False, sentence=f"{peer}: {fault}", seconds=time.monotonic() - begun_s)
    seconds = time.monotonic() - begun_s
    where = f"{terms.called_ae} at {terms.host}:{terms.port}"
    if status == SUCCESS:
        sentence = f"{peer}: {where} answers in {seconds * 1000:.0f} ms to {terms.calling_ae}"
    else:
        said = "nothing" if status is None else status_text(status)
        sentence = f"{peer}: {where} accepts the association and answers {said}"
    return EchoResult(answered=status == SUCCESS, sentence=sentence, seconds=seconds, status=status)

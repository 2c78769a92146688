"""C-FIND as a user, in the Study Root model (PS3.4 C.6.2)."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from scp_node.dimse.services import STUDY_ROOT_FIND
from scp_node.dimse.statuses import PENDING, SUCCESS, status_text
from scp_node.errors import TransientDeliveryError
from scp_node.outbound.link import Link

PROPOSALS = [(STUDY_ROOT_FIND, syntax) for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)]
"""Two contexts, so that the peer can take either transfer syntax."""


def find(link: Link, identifier: Dataset) -> Iterator[Dataset]:
    """The matches of one query.

    Raises
    ------
    TransientDeliveryError
        If the peer does not answer to the end with success.
    """
    for status, match in link.association.send_c_find(identifier, STUDY_ROOT_FIND):
        if "Status" not in status:
            raise TransientDeliveryError("no answer to C-FIND: timed out, or the association was aborted")
        code = int(status.Status)
        if code in PENDING:
            if match is not None:
                yield match
        elif code != SUCCESS:
            raise TransientDeliveryError(f"C-FIND failed ({status_text(code)})")

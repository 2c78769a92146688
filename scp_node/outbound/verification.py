"""For archives without storage commitment: ask for each instance whether it is there (C-FIND at IMAGE level)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from scp_node.dimse.text import text_of
from scp_node.domain.delivery import EncodedObject
from scp_node.outbound.link import Terms, linked
from scp_node.outbound.query import PROPOSALS, find

_INSTANCE = Tag("SOPInstanceUID")


def held(terms: Terms, objects: Sequence[EncodedObject]) -> set[str]:
    """SOP Instance UIDs of those objects that the peer finds.

    Raises
    ------
    TransientDeliveryError, NothingAcceptedError
        If the peer cannot be asked.
    """
    found: set[str] = set()
    with linked(terms, PROPOSALS) as link:
        for encoded in objects:
            # An archive that ignores a key answers with more than was asked for: only the very instance counts.
            matches = find(link, _identifier(encoded))
            found.update({text_of(match, _INSTANCE) for match in matches} & {encoded.sop_instance_uid})
    return found


def _identifier(encoded: EncodedObject) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = encoded.study_instance_uid
    identifier.SeriesInstanceUID = encoded.series_instance_uid
    identifier.SOPInstanceUID = encoded.sop_instance_uid
    return identifier

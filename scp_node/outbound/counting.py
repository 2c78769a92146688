"""How many objects a peer holds of a study, series by series (C-FIND). Asked while we wait for the rest of a study."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from scp_node.dimse.text import text_of
from scp_node.domain.completion import ArchivedSeries
from scp_node.outbound.cutoff import Cutoff
from scp_node.outbound.link import Link, linked, terms_of
from scp_node.outbound.query import PROPOSALS, find
from scp_node.settings import Settings

_STUDY = Tag("StudyInstanceUID")
_SERIES = Tag("SeriesInstanceUID")
_INSTANCE = Tag("SOPInstanceUID")
_MODALITY = Tag("Modality")
_COUNT = Tag("NumberOfSeriesRelatedInstances")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCounts:
    """Asks a peer of ``peers.toml``; see :class:`scp_node.pipeline.ports.Archive`."""

    settings: Settings
    cutoff: Cutoff | None = None

    def series_of(self, peer: str, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
        """Every series of a study that the peer holds; none if it does not know the study.

        The number of instances is an optional key (PS3.4 table C.6-3): where a peer leaves it out, the instances
        themselves are asked for.

        Raises
        ------
        TransientDeliveryError, PermanentDeliveryError
            If the peer cannot be asked.
        """
        with linked(terms_of(self.settings, peer, self.cutoff), PROPOSALS) as link:
            matches = {
                text_of(match, _SERIES): match
                for match in find(link, _series_query(study_instance_uid))
                # A peer that ignores the key of the study answers with other studies as well.
                if text_of(match, _STUDY) == study_instance_uid
            }
            return tuple(
                ArchivedSeries(
                    series_instance_uid=series,
                    modality=text_of(match, _MODALITY),
                    instance_count=_count(link, study_instance_uid, series, match),
                )
                for series, match in matches.items()
            )


def _series_query(study_instance_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = query.Modality = ""
    query.NumberOfSeriesRelatedInstances = None
    return query


def _count(link: Link, study_instance_uid: str, series_instance_uid: str, match: Dataset) -> int:
    told = text_of(match, _COUNT)
    if told.isdecimal():
        return int(told)
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = study_instance_uid
    query.SeriesInstanceUID = series_instance_uid
    query.SOPInstanceUID = ""
    found = {
        text_of(each, _INSTANCE) for each in find(link, query) if text_of(each, _SERIES) in ("", series_instance_uid)
    }
    return len(found)

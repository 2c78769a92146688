"""Study summaries for tests: as much header as a decision looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analyzers.contract import Code, InstanceSummary, SeriesSummary, StudySummary

STUDY_UID = "1.2.840.99999.1"


def instance(
    modality: str,
    *,
    series: int = 1,
    number: int = 1,
    attributes: Mapping[str, str] | None = None,
    codes: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> InstanceSummary:
    """One instance with the given attributes (one value each) and codes ``(value, scheme)``."""
    return InstanceSummary(
        study_instance_uid=STUDY_UID,
        series_instance_uid=f"{STUDY_UID}.{series}",
        sop_instance_uid=f"{STUDY_UID}.{series}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality=modality,
        rows=64,
        columns=64,
        attributes={keyword: (value,) for keyword, value in (attributes or {}).items()},
        codes={
            path: tuple(Code(value=value, scheme=scheme, meaning="") for value, scheme in values)
            for path, values in (codes or {}).items()
        },
        frames=(),
    )


def study(*instances: InstanceSummary) -> StudySummary:
    """A study of the given instances, grouped into series."""
    by_series: dict[str, list[InstanceSummary]] = {}
    for each in instances:
        by_series.setdefault(each.series_instance_uid, []).append(each)
    return StudySummary(
        study_instance_uid=STUDY_UID,
        series=tuple(
            SeriesSummary(series_instance_uid=uid, modality=members[0].modality, instances=tuple(members))
            for uid, members in by_series.items()
        ),
    )

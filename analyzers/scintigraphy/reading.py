"""The analyzer's main line: read what is there, say what it means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from analyzers.contract import Assessed, Gate, NotAssessable, SeriesRole
from analyzers.priors import Prior
from analyzers.scintigraphy.answer import (
    device_sentence,
    facts_of,
    pattern_findings,
    pertechnetate_sentence,
)
from analyzers.scintigraphy.expectations import Role, image_kind, is_transmission, study_roles
from analyzers.scintigraphy.faint_lobe import without_faint_lobe
from analyzers.scintigraphy.given_lesions import without_measuring
from analyzers.scintigraphy.planar import PlanarReading, PlanarRefusal, read_planar
from analyzers.scintigraphy.planar_answer import (
    focus_findings,
    planar_limitations,
    planar_measurements,
    planar_regions,
)
from analyzers.scintigraphy.shunt_words import planar_shunt_sentence, spect_shunt_sentence
from analyzers.scintigraphy.spect import SpectReading, SpectRefusal
from analyzers.scintigraphy.spect_answer import (
    spect_device_sentence,
    spect_findings,
    spect_limitations,
    spect_ratio_sentence,
    spect_regions,
    spect_segments,
)
from analyzers.scintigraphy.spect_choice import read_best_spect
from analyzers.scintigraphy.spect_numbers import spect_measurements
from analyzers.scintigraphy.thresholds import DEFAULTS, Thresholds
from analyzers.scintigraphy.tracer import Agent, agents_of
from analyzers.scintigraphy.verdict import perfusion_pattern
from analyzers.volume import LoadedSeries, PlanarView, StudyImages

_PLANAR_ROLES = (Role.PLANAR_MAA, Role.WHOLE_BODY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What the two kinds of images gave; ``None`` where the study has none of the kind."""

    planar: PlanarReading | PlanarRefusal | None
    spect: SpectReading | SpectRefusal | None


def analyze(
    images: StudyImages, priors: Sequence[Prior], thresholds: Thresholds = DEFAULTS
) -> Assessed | NotAssessable:
    """Read a perfusion study; lesions of earlier answers are measured on a SPECT."""
    return conclude(images, read_study(images, thresholds, priors), thresholds)


def read_study(images: StudyImages, thresholds: Thresholds, priors: Sequence[Prior] = ()) -> Readings:
    """Read the planar views and the better SPECT of a study."""
    agents = agents_of(instance for series in images.summary.series for instance in series.instances)

    def is_colloid(view: PlanarView) -> bool:
        return agents[view.frame.sop_instance_uid][0] is Agent.COLLOID

    # Some cameras put both tracers, or the infusion and the views after it, into one series.
    every = [loaded for role in (*_PLANAR_ROLES, Role.PLANAR_COLLOID) for loaded in images.with_role(role)]
    colloid = _filled(_with_views(every, lambda view: is_colloid(view) and is_still(view)))
    dynamic = _filled(_with_views((*images.with_role(Role.DYNAMIC), *every), is_time_slice))
    planar: PlanarReading | PlanarRefusal | None = None
    # Static views are sharper than a scan; the scan is read where no static pair can be.
    for role in _PLANAR_ROLES:
        given = images.with_role(role)
        if not given or isinstance(planar, PlanarReading):
            continue
        chosen = _with_views(given, lambda view: is_still(view) and not is_colloid(view))
        outcome = read_planar(chosen, thresholds, colloid=colloid, dynamic=dynamic)
        planar = outcome if planar is None or isinstance(outcome, PlanarReading) else planar
    spect = read_best_spect(images, thresholds, priors)
    if isinstance(planar, PlanarReading) and isinstance(spect, SpectReading):
        planar = without_faint_lobe(planar, spect, thresholds)
    return Readings(planar=planar, spect=spect)


def is_still(view: PlanarView) -> bool:
    """Whether a view shows where the tracer came to rest: no time slice, and no transmission image."""
    return image_kind(view.header) != "DYNAMIC" and not is_transmission(view.header)


def is_time_slice(view: PlanarView) -> bool:
    """Whether a view is one of a dynamic series."""
    return image_kind(view.header) == "DYNAMIC" and not is_transmission(view.header)


def _with_views(series: Sequence[LoadedSeries], keep: Callable[[PlanarView], bool]) -> tuple[LoadedSeries, ...]:
    """Series without the views that are not kept."""
    return tuple(replace(loaded, views=tuple(view for view in loaded.views if keep(view))) for loaded in series)


def _filled(series: Sequence[LoadedSeries]) -> tuple[LoadedSeries, ...]:
    return tuple(loaded for loaded in series if loaded.views)


def conclude(images: StudyImages, readings: Readings, thresholds: Thresholds) -> Assessed | NotAssessable:
    """Put the readings into the words of the contract."""
    planar = readings.planar if isinstance(readings.planar, PlanarReading) else None
    spect = readings.spect if isinstance(readings.spect, SpectReading) else None
    refused = _refusals(readings)
    roles = _series_roles(images)
    gates = _gates(readings)
    if planar is None and spect is None:
        return NotAssessable(
            reasons=refused or ("Neither planar views nor a SPECT could be read.",), gates=gates, roles=roles
        )
    facts = facts_of(planar, spect)
    pattern = perfusion_pattern(facts)
    findings = pattern_findings(pattern, facts, planar, spect)
    by_spect = spect_shunt_sentence(spect, thresholds)
    sentences = (
        pattern.sentence,
        _not_read(readings),
        pertechnetate_sentence(planar),
        device_sentence(planar),
        spect_device_sentence(spect),
        by_spect,
        planar_shunt_sentence(planar, thresholds, beside_spect=bool(by_spect)),
        spect_ratio_sentence(spect),
    )
    return Assessed(
        conclusion=" ".join(text for text in sentences if text),
        findings=(
            *findings,
            *(focus_findings(planar.foci) if planar else ()),
            *(spect_findings(spect) if spect else ()),
        ),
        measurements=(
            *(planar_measurements(planar, thresholds) if planar else ()),
            *(spect_measurements(spect) if spect else ()),
        ),
        segments=spect_segments(spect) if spect else (),
        regions=(*(planar_regions(planar) if planar else ()), *(spect_regions(spect) if spect else ())),
        gates=gates,
        roles=roles,
        limitations=(
            *refused,
            *(spect_limitations(spect, thresholds) if spect else _unmeasured(images)),
            *(planar_limitations(planar, thresholds) if planar else ()),
        ),
    )


def _unmeasured(images: StudyImages) -> tuple[str, ...]:
    """Lesions that were outlined, yet there is no SPECT that could be read."""
    return without_measuring(images.segmentations, "there is no SPECT that could be read").remarks


def _refusals(readings: Readings) -> tuple[str, ...]:
    return tuple(
        reason
        for reading in (readings.planar, readings.spect)
        if isinstance(reading, PlanarRefusal | SpectRefusal)
        for reason in reading.reasons
    )


def _not_read(readings: Readings) -> str:
    """Which images were there and told nothing; the reasons stand among the limitations."""
    if isinstance(readings.spect, SpectRefusal):
        return "The SPECT could not be read (see limitations)."
    return "The planar views could not be read (see limitations)." if isinstance(readings.planar, PlanarRefusal) else ""


def _gates(readings: Readings) -> tuple[Gate, ...]:
    both = (readings.planar, readings.spect)
    return tuple(gate for reading in both if reading is not None for gate in reading.gates)


def _series_roles(images: StudyImages) -> tuple[SeriesRole, ...]:
    return tuple(
        SeriesRole(series_instance_uid=uid, role=found.role.value if found.role else "", reason=found.reason)
        for uid, found in study_roles(images.summary).items()
    )

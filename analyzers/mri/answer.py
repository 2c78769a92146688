"""What a reading says in the words of the contract: segments, measurements, findings, limitations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from analyzers import vocabulary
from analyzers.contract import (
    Assessed,
    Finding,
    Gate,
    Grade,
    Measurement,
    NotAssessable,
    Outline,
    Presence,
    Segment,
    SeriesRole,
)
from analyzers.measuring import Circumstances, measurement
from analyzers.mri.axes import Line
from analyzers.mri.comparison import change_of_liver
from analyzers.mri.expectations import study_roles
from analyzers.mri.findings import AT_LEAST, OUTLINED_BY, Reading
from analyzers.mri.lesions import Candidate
from analyzers.mri.roles import Role
from analyzers.mri.searches import stated_floor_mm
from analyzers.mri.stacks import NAMES, StudyStacks
from analyzers.mri.thresholds import MriThresholds
from analyzers.priors import Prior
from analyzers.quality import plane_distance_mm
from analyzers.volume import StudyImages

_LIVER_RGB = (0, 158, 115)
_LESION_RGB = (213, 94, 0)
_SURE_SCORE = 0.7
_BRIGHT_IN = (Role.DWI, Role.T2, Role.HASTE)
_ALIKE_ROUND_LIVER = (Role.T1_PRE, Role.T1, Role.T1_IN, Role.T1_OPPOSED)
_WANTED = {
    "T1 with contrast": (Role.T1_ARTERIAL, Role.T1_PORTAL, Role.T1_TRANSITIONAL, Role.T1_HBP),
    "hepatobiliary phase": (Role.T1_HBP,),
    "T2": (Role.T2, Role.HASTE),
    "diffusion": (Role.DWI,),
}


def not_assessable(
    images: StudyImages, reasons: Sequence[str], gates: tuple[Gate, ...], settings: MriThresholds
) -> NotAssessable:
    """Say why nothing was measured."""
    return NotAssessable(reasons=tuple(dict.fromkeys(reasons)), gates=gates, roles=_series_roles(images, settings))


def assessed(
    images: StudyImages, stacks: StudyStacks, reading: Reading, priors: Sequence[Prior], settings: MriThresholds
) -> Assessed:
    """Put a reading into words."""
    change = change_of_liver(reading, priors)
    finding = _lesion_finding(reading, settings)
    at_least = "" if reading.whole else "at least "
    conclusion = f"Liver volume {at_least}{reading.liver_ml:.0f} mL. {finding.sentence} {change}"
    return Assessed(
        conclusion=conclusion.strip(),
        findings=(finding,),
        measurements=(
            _liver_volume(reading),
            *((_lesion_count(reading),) if reading.search.searched else ()),
            *(
                measurement
                for number, candidate in enumerate(reading.search.candidates, 1)
                for measurement in _lesion_measurements(number, candidate, reading, settings)
            ),
        ),
        segments=_segments(reading),
        gates=reading.gates,
        roles=_series_roles(images, settings),
        limitations=_limitations(stacks, reading, settings),
    )


def _grade(reading: Reading) -> Grade:
    sure = reading.reference.role in (Role.T1_HBP, Role.T1_PORTAL, Role.T1_TRANSITIONAL)
    return Grade.GOOD if sure and reading.whole else Grade.LIMITED


def _sensitive(reading: Reading) -> bool:
    """Whether metastases show in what was searched: the hepatobiliary phase, or diffusion beside another phase."""
    return bool({NAMES[Role.T1_HBP], NAMES[Role.DWI]} & set(reading.search.searched))


def _cut_by(reading: Reading) -> tuple[str, ...]:
    """What cuts the liver."""
    ends = {"liver inside the scan": "the end of the scan", "liver inside the field of view": "the border of the field"}
    return tuple(ends[gate.name] for gate in reading.gates if not gate.passed)


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def _liver_volume(reading: Reading) -> Measurement:
    remark = "" if reading.whole else f"the liver reaches {_listed(_cut_by(reading))}: {AT_LEAST}"
    return _measurement(
        "liver_volume",
        reading.liver_ml,
        "liver",
        method=OUTLINED_BY.format(NAMES[reading.reference.role]),
        grade=_grade(reading),
        remark=remark,
    )


def _lesion_count(reading: Reading) -> Measurement:
    method = f"Candidates in {_listed(reading.search.searched)}"
    grade = _grade(reading) if reading.search.vessels_told else Grade.LIMITED
    return _measurement("lesion_count", float(len(reading.search.candidates)), "liver", method=method, grade=grade)


def _lesion_measurements(
    number: int, candidate: Candidate, reading: Reading, settings: MriThresholds
) -> tuple[Measurement, ...]:
    volume, axes = reading.reference.volume, candidate.axes
    spacing_mm = plane_distance_mm(volume)
    # RECIST 1.1: 10 mm on slices up to 5 mm, else twice the slice distance.
    least_mm = max(settings.lesions.measurable_mm, 2.0 * spacing_mm if spacing_mm > 5.0 else 0.0)
    measurable = axes.long_mm >= least_mm
    at_home = candidate.found_in == NAMES[reading.reference.role]
    sure = measurable and at_home and reading.search.vessels_told and candidate.score >= _SURE_SCORE
    grade = Grade.GOOD if sure else Grade.LIMITED
    remark = _lesion_remark(candidate, reading, "" if measurable else f"below {least_mm:g} mm")
    # Half a pixel and half a slice: 113 of the 116 long axes of the benchmark lie within it (docs/benchmarks).
    step_mm = spacing_mm if at_home else max(spacing_mm, reading.search.coarsest_step_mm)
    doubt_mm = 0.5 * (max(volume.spacing_zyx_mm[1:]) + step_mm)

    def measured(key: str, value: float, method: str, line: Line | None = None) -> Measurement:
        frame = volume.planes[axes.plane]
        return _measurement(
            key, value, f"lesion-{number}", method=method, grade=grade, remark=remark,
            doubt=None if line is None else doubt_mm,
            lines=() if line is None else (Outline(frame=frame, points_col_row=line, closed=False),),
            sources=() if line is None else (frame,),
        )  # fmt: skip

    return (
        measured("lesion_long_axis", axes.long_mm, "Longest in-plane diameter", axes.long_line),
        measured("lesion_short_axis", axes.short_mm, "Longest perpendicular chord", axes.short_line),
        measured("lesion_volume", candidate.volume_ml, "Voxels at half contrast"),
    )


def _lesion_remark(candidate: Candidate, reading: Reading, too_small: str) -> str:
    """What a reader of the numbers of a candidate has to know."""
    words = [f"candidate, score {candidate.score:.2f}"]
    if too_small:
        words.append(f"{too_small}: not measurable by RECIST 1.1")
    if not reading.search.vessels_told:
        words.append("may be a vessel")
    if candidate.seen_in:
        words.append(f"seen in {_listed(candidate.seen_in)} too")
    if candidate.found_in != NAMES[reading.reference.role]:
        words.append(f"measured in {candidate.found_in}, brought onto {NAMES[reading.reference.role]}")
    return "; ".join(words)


def _measurement(
    key: str, value: float, subject: str, *, doubt: float | None = None, **circumstances: Unpack[Circumstances]
) -> Measurement:
    """A measurement in the liver; ``doubt`` is the half width of its 95 % interval."""
    circumstances["site"] = vocabulary.LIVER
    return measurement(key, value, subject, uncertainty=doubt, **circumstances)


def _segments(reading: Reading) -> tuple[Segment, ...]:
    volume = reading.reference.volume
    liver = Segment(
        name="liver",
        label="Liver",
        category=vocabulary.ANATOMICAL_STRUCTURE,
        type=vocabulary.LIVER,
        mask_planes=reading.liver_zyx,
        planes=volume.planes,
        series_instance_uid=volume.series_instance_uid,
        rgb=_LIVER_RGB,
    )
    lesions = (
        Segment(
            name=f"lesion-{number}",
            label=f"Lesion candidate {number}",
            category=vocabulary.MORPHOLOGICALLY_ABNORMAL_STRUCTURE,
            type=vocabulary.LESION,
            site=vocabulary.LIVER,
            mask_planes=candidate.mask_zyx,
            planes=volume.planes,
            series_instance_uid=volume.series_instance_uid,
            rgb=_LESION_RGB,
        )
        for number, candidate in enumerate(reading.search.candidates, 1)
    )
    return (liver, *lesions)


def _lesion_finding(reading: Reading, settings: MriThresholds) -> Finding:
    where = _listed(reading.search.searched)
    candidates = reading.search.candidates
    if not reading.search.searched:
        presence = Presence.INDETERMINATE
        sentence = (
            f"Lesions were not looked for: {NAMES[reading.reference.role]} alone does not tell them from vessels."
        )
    elif not candidates:
        presence, sentence = _none_found(reading, settings)
    else:
        sure = reading.search.vessels_told and any(one.score >= _SURE_SCORE for one in candidates)
        presence = Presence.PRESENT if sure else Presence.INDETERMINATE
        longest = max(one.axes.long_mm for one in candidates)
        noun = "candidate" if len(candidates) == 1 else "candidates"
        doubt = "" if reading.search.vessels_told else "vessels cannot be told apart from lesions in it alone; "
        sentence = (
            f"{len(candidates)} lesion {noun} in {where}, the longest {longest:.0f} mm; {doubt}not characterised."
        )
    return Finding(
        key="lesions",
        concept=vocabulary.LESION,
        presence=presence,
        sentence=sentence,
        site=vocabulary.LIVER,
        evidence=(
            *(("lesion_count",) if reading.search.searched else ()),
            *(("lesion_long_axis",) if candidates else ()),
        ),
    )


def _none_found(reading: Reading, settings: MriThresholds) -> tuple[Presence, str]:
    """What it means that no candidate was found: never more than the search can see."""
    lesions = settings.lesions
    floor_mm = stated_floor_mm(reading.search, lesions)
    sure = _grade(reading) is Grade.GOOD and _sensitive(reading) and floor_mm <= lesions.excluding_floor_mm
    hint = "smaller ones can be missed" if sure else "that does not exclude lesions"
    where = _listed(reading.search.searched)
    sentence = f"No lesion candidate of {floor_mm:.0f} mm or more detected in {where}; {hint}."
    return Presence.ABSENT if sure else Presence.INDETERMINATE, sentence


def _limitations(stacks: StudyStacks, reading: Reading, settings: MriThresholds) -> tuple[str, ...]:
    present = {stack.role for stack in stacks.stacks}
    said = [f"No {name} in the study." for name, roles in _WANTED.items() if not present & set(roles)]
    said += _limits_of_outline(reading)
    if reading.reference.guessed:
        said.append("No header tells when contrast was given: the phases are guessed from the order of the images.")
    if reading.search.compared and reading.reference.volume.frame_of_reference_uid is None:
        said.append("Series were compared by their positions, though no frame of reference says that they may be.")
    if reading.search.searched:
        said += _limits_of_search(stacks, reading, settings)
    return (*said, *reading.reference.volume.remarks, *stacks.refusals)


def _limits_of_outline(reading: Reading) -> list[str]:
    name = NAMES[reading.reference.role]
    if reading.reference.role in _ALIKE_ROUND_LIVER:
        return [
            f"In {name} the gallbladder, the vessels of the hilum and the abdominal wall can be as bright as the "
            "liver: its outline may be too wide."
        ]
    return []


def _limits_of_search(stacks: StudyStacks, reading: Reading, settings: MriThresholds) -> list[str]:
    search, said = reading.search, []
    if reading.reference.role is not Role.T1_HBP:
        said.append(
            "Without a hepatobiliary phase lesions that enhance like parenchyma, or at their rim only, are missed or "
            "measured too small in T1."
        )
        told = next((one for one in stacks.of(*_BRIGHT_IN) if NAMES[one.role] in search.searched), None)
        if told is not None:
            step_mm = plane_distance_mm(told.volume)
            floor_mm = settings.lesions.surely_found_slices * step_mm
            said.append(
                f"Such lesions are told by {NAMES[told.role]} with slices {step_mm:.1f} mm apart: those below "
                f"{floor_mm:.0f} mm can be missed, and axes measured in it are coarse."
            )
    bridged_mm = settings.liver.bay_closing_mm if stacks.of(Role.DWI) else settings.liver.closing_mm
    said.append(f"Lesions at the liver's surface that are wider than {2.0 * bridged_mm:.0f} mm can be left out of it.")
    if not search.compared:
        said.append("Candidates were not looked up in a second sequence.")
    if len(search.candidates) >= settings.lesions.most_candidates:
        said.append(f"Only the {settings.lesions.most_candidates} largest candidates are listed.")
    said.append("Cysts, haemangiomas and treated lesions are candidates too; none is matched to an earlier study.")
    return said


def _series_roles(images: StudyImages, settings: MriThresholds) -> tuple[SeriesRole, ...]:
    return tuple(
        SeriesRole(series_instance_uid=uid, role=found.role.value, reason=found.reason)
        for uid, found in study_roles(images.summary, settings).items()
    )

"""What a SPECT reading says in the words of the contract: segments, measurements, findings, limitations."""

from __future__ import annotations

from analyzers import vocabulary
from analyzers.contract import Finding, Grade, Measurement, Presence, Segment
from analyzers.measuring import measurement
from analyzers.scintigraphy.spect import SpectFocus, SpectReading

LIVER_SEGMENT = "perfused-liver"
_LIVER_RGB = (0, 158, 115)
_FOCUS_RGB = (213, 94, 0)


def spect_segments(reading: SpectReading) -> tuple[Segment, ...]:
    """Perfused liver and foci on the grid of the SPECT."""
    volume = reading.volume
    segments = [
        Segment(
            name=LIVER_SEGMENT,
            label="Perfused liver",
            category=vocabulary.FUNCTION,
            type=vocabulary.PERFUSION,
            site=vocabulary.LIVER,
            mask_planes=reading.liver_zyx,
            planes=volume.planes,
            series_instance_uid=volume.series_instance_uid,
            rgb=_LIVER_RGB,
        )
    ]
    segments += [
        Segment(
            name=focus.name,
            label=_label(focus),
            category=vocabulary.FUNCTION,
            type=vocabulary.PERFUSION,
            site=focus.site,
            mask_planes=focus.mask_zyx,
            planes=volume.planes,
            series_instance_uid=volume.series_instance_uid,
            rgb=_FOCUS_RGB,
        )
        for focus in (*reading.foci, *reading.physiologic)
    ]
    return tuple(segments)


def _label(focus: SpectFocus) -> str:
    kind, number = ("kidney-like uptake" if focus.physiologic else "focus"), focus.name.rsplit("-", maxsplit=1)[1]
    return f"SPECT {kind} {number}"


def spect_measurements(reading: SpectReading) -> tuple[Measurement, ...]:
    """Volume and share of the liver's uptake, and each focus."""
    corrected = reading.attenuation_corrected
    remark = "" if corrected else "not corrected for attenuation: depth changes the counts"
    grade = Grade.GOOD if corrected else Grade.LIMITED
    return (
        _measurement(
            "perfused_volume",
            reading.liver_ml,
            LIVER_SEGMENT,
            "Level at 40 % of the median inside",
            Grade.LIMITED,
            "outlined by activity alone: breathing and blur widen it, parts without uptake are left out",
        ),
        _measurement(
            "liver_activity_share",
            reading.liver_share_fraction,
            LIVER_SEGMENT,
            "Counts relative to volume",
            grade,
            remark,
        ),
        _measurement(
            "extrahepatic_focus_count_spect",
            float(len(reading.foci)),
            None,
            "Peaks outside the liver, SPECT",
            grade,
            remark,
        ),
        *(
            measurement
            for focus in (*reading.foci, *reading.physiologic)
            for measurement in _focus_measurements(focus, grade, remark)
        ),
    )


def _focus_measurements(focus: SpectFocus, grade: Grade, remark: str) -> list[Measurement]:
    return [
        _measurement("extrahepatic_share", focus.share_fraction, focus.name, "SPECT, relative to liver", grade, remark),
        _measurement(
            "extrahepatic_peak", focus.peak_fraction, focus.name, "SPECT, peak over liver mean", grade, remark
        ),
        _measurement(
            "extrahepatic_significance", focus.significance_sigma, focus.name, "SPECT, over surroundings", grade, remark
        ),
        _measurement("extrahepatic_volume", focus.volume_ml, focus.name, "SPECT, half of the peak", grade, remark),
    ]


def _measurement(key: str, value: float, subject: str | None, method: str, grade: Grade, remark: str) -> Measurement:
    return measurement(key, value, subject, method=method, grade=grade, remark=remark)


def spect_findings(reading: SpectReading) -> tuple[Finding, ...]:
    """One finding for each focus outside the liver."""
    return tuple(
        Finding(
            key="physiologic_uptake" if focus.physiologic else "extrahepatic_focus",
            concept=vocabulary.PHYSIOLOGIC_UPTAKE if focus.physiologic else vocabulary.EXTRAHEPATIC_PERFUSION,
            presence=Presence.INDETERMINATE,
            sentence=(
                f"{_label(focus)}: {focus.words}; {focus.volume_ml:.0f} ml, "
                f"{100 * focus.share_fraction:.1f} % of the liver's counts, peak {focus.peak_fraction:.2f} of the "
                "liver's mean."
            ),
            subject=focus.name,
            site=focus.site,
            evidence=("extrahepatic_share", "extrahepatic_peak"),
        )
        for focus in (*reading.foci, *reading.physiologic)
    )


def spect_limitations(reading: SpectReading) -> tuple[str, ...]:
    """What a reader of the SPECT result must know."""
    limitations = [
        "SPECT regions rest on activity alone: no CT was used to tell the liver from its neighbours, and activity "
        "within 15 mm of the liver is not searched."
    ]
    if not reading.attenuation_corrected:
        limitations.append("The SPECT is not known to be corrected for attenuation; shares are approximate.")
    if reading.physiologic:
        places = "; ".join(focus.words for focus in reading.physiologic)
        limitations.append(f"SPECT uptake that looks like kidney, which macroaggregates do not reach: {places}.")
    return tuple(limitations)

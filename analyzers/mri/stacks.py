"""The stacks of a study that can be read, each with its role, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyzers.mri.expectations import NOT_READ
from analyzers.mri.roles import Role, first_roles
from analyzers.mri.sequences import facts_of
from analyzers.mri.thresholds import MriThresholds
from analyzers.quality import plane_distance_mm
from analyzers.volume import StudyImages, Volume

OUTLINED_IN = (
    Role.T1_HBP, Role.T1_PORTAL, Role.T1_TRANSITIONAL, Role.T1_PRE, Role.T1_ARTERIAL, Role.T1, Role.T1_IN,
    Role.T1_OPPOSED, Role.T2, Role.HASTE,
)  # fmt: skip
"""Roles in which the liver is outlined, best first."""
NAMES = {
    Role.T1_PRE: "T1 before contrast",
    Role.T1_ARTERIAL: "T1 arterial",
    Role.T1_PORTAL: "T1 portal venous",
    Role.T1_TRANSITIONAL: "T1 transitional",
    Role.T1_HBP: "T1 hepatobiliary",
    Role.T1_IN: "T1 in phase",
    Role.T1_OPPOSED: "T1 opposed phase",
    Role.T1: "T1",
    Role.T2: "T2",
    Role.HASTE: "T2 single shot",
    Role.DWI: "Diffusion",
    Role.ADC: "ADC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoledStack:
    """A volume and what it is."""

    volume: Volume
    role: Role
    reason: str
    guessed: bool
    b_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStacks:
    """Axial stacks that can be read, and in words what could not."""

    stacks: tuple[RoledStack, ...]
    refusals: tuple[str, ...]

    def of(self, *roles: Role) -> tuple[RoledStack, ...]:
        """Stacks of these roles, in the order of the roles, then of more planes."""
        return tuple(
            stack
            for role in roles
            for stack in sorted(self.stacks, key=lambda one: -len(one.volume.planes))
            if stack.role is role
        )


def read_stacks(images: StudyImages, settings: MriThresholds) -> StudyStacks:
    """Load every series that has a role, and tell the role of each of its stacks."""
    volumes: list[Volume] = []
    refusals: list[str] = []
    for series in images.summary.series:
        if images.roles.get(series.series_instance_uid, "") in (*NOT_READ, Role.T1_FAT):
            continue
        loaded = images.load(series.series_instance_uid)
        number = series.first.text("SeriesNumber")
        refusals += [f"Series {number}: {refusal}" for refusal in loaded.refusals]
        for volume in loaded.volumes:
            against = _against(volume, settings)
            if against:
                refusals.append(f"Series {number}{f' ({volume.label})' if volume.label else ''}: {against}")
            else:
                volumes.append(volume)
    facts = [facts_of(volume.header, volume.attributes, volume.planes[0].frame) for volume in volumes]
    roles = first_roles(facts, settings.series)
    stacks = [
        RoledStack(volume=volume, role=role.role, reason=role.reason, guessed=role.guessed, b_value=fact.b_value)
        for volume, role, fact in zip(volumes, roles, facts, strict=True)
        if role.role.value not in NOT_READ
    ]
    return StudyStacks(stacks=tuple(stacks), refusals=_ascii(refusals))


def _ascii(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(text.encode("ascii", "replace").decode() for text in texts)


def _against(volume: Volume, settings: MriThresholds) -> str:
    """Why a stack cannot be read; empty when it can."""
    wanted = settings.series
    normal = np.cross(volume.affine_lps[:3, 0], volume.affine_lps[:3, 1])
    steepness = float(np.degrees(np.arccos(min(1.0, abs(normal[2]) / max(float(np.linalg.norm(normal)), 1e-9)))))
    if steepness > wanted.steepest_slice_normal_deg:
        return f"not axial (slice normal {steepness:.0f} deg off the body axis)"
    if len(volume.planes) < wanted.fewest_images:
        return f"{len(volume.planes)} planes, at least {wanted.fewest_images} are needed"
    distance_mm = plane_distance_mm(volume)
    if distance_mm > wanted.thickest_slice_mm:
        return f"planes {distance_mm:.1f} mm apart, at most {wanted.thickest_slice_mm:g} mm"
    if distance_mm * len(volume.planes) < wanted.shortest_stack_mm:
        return f"{distance_mm * len(volume.planes):.0f} mm long, at least {wanted.shortest_stack_mm:g} mm are needed"
    if float(np.ptp(volume.voxels_zyx)) == 0.0:
        return "all voxels are alike"
    return ""

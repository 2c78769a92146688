"""What is asked of a phantom, and the chance and identifiers that follow from it."""

import uuid
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

Size = Literal["small", "full"]
Model = Literal["development", "evaluation"]

# Any fixed UUID will do: it only keeps these names apart from other name-based UUIDs.
_NAMESPACE = uuid.UUID("6f0f2c1e-5a44-5b1d-9a0e-4d3f3b7c2a10")


class PhantomError(ValueError):
    """The phantom cannot be made as asked; the message says what to ask instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomRequest:
    """One phantom study to be made.

    Attributes
    ----------
    kind : str
        ``cta``, ``mri`` or ``scintigraphy``.
    seed : int
        Draws the patient, the anatomy and the noise. Not negative.
    variants : tuple of str
        Sorted, without repetition.
    size : {"small", "full"}
        Grid size: ``small`` for demonstrations and tests, ``full`` as scanners make it.
    model : {"development", "evaluation"}
        Which forward model makes the images. An analyzer that was tuned on one is measured on the other.
    """

    kind: str
    seed: int
    variants: tuple[str, ...] = ()
    size: Size = "small"
    model: Model = "development"

    def has(self, variant: str) -> bool:
        """Whether this variant was asked for."""
        return variant in self.variants

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose; equal for every kind and variant, so one seed is one patient.

        A purpose has its own stream, so drawing more for one thing does not move another.
        """
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode("ascii"))])

    def uid(self, *role: object) -> str:
        """A UID below 2.25 that depends only on the request and the role of the thing that it names."""
        name = "|".join([self.kind, str(self.seed), *self.variants, self.size, self.model, *map(str, role)])
        return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"

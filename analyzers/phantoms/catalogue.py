"""The table of phantom kinds."""

from importlib import import_module

from analyzers.phantoms.request import PhantomError, PhantomRequest
from analyzers.phantoms.study import PhantomKind

# A kind's module is loaded only when it is asked for: each brings its own heavy anatomy.
KIND_MODULES = {
    "cta": "analyzers.phantoms.ct",
    "mri": "analyzers.phantoms.mr",
    "scintigraphy": "analyzers.phantoms.nuclear",
}

# These change names of files only, so the writer does them for every kind.
WRITER_VARIANTS = {"shuffled-names": "file and folder names say nothing about the order of images or series"}


def load_kind(name: str) -> PhantomKind:
    """Return one kind of phantom.

    Raises
    ------
    PhantomError
        If there is no such kind.
    """
    if name not in KIND_MODULES:
        raise PhantomError(f"No phantom of kind {name!r}. Kinds: {', '.join(KIND_MODULES)}.")
    kind = import_module(KIND_MODULES[name]).KIND
    if not isinstance(kind, PhantomKind):
        raise TypeError(f"{KIND_MODULES[name]}.KIND is not a PhantomKind")
    return kind


def variants_of(kind: PhantomKind) -> dict[str, str]:
    """Every variant of a kind with its description, sorted by name."""
    return dict(sorted({**kind.variants, **WRITER_VARIANTS}.items()))


def check_request(request: PhantomRequest, kind: PhantomKind) -> None:
    """Refuse what cannot be made.

    Raises
    ------
    PhantomError
        If the seed is negative, a variant is unknown, or variants exclude each other.
    """
    if request.seed < 0:
        raise PhantomError(f"The seed must not be negative, but is {request.seed}.")
    known = variants_of(kind)
    unknown = [name for name in request.variants if name not in known]
    if unknown:
        raise PhantomError(f"No variant {', '.join(unknown)} of {request.kind}. Variants: {', '.join(known)}.")
    for group in kind.conflicts:
        both = sorted(group.intersection(request.variants))
        if len(both) > 1:
            raise PhantomError(f"Variants {' and '.join(both)} exclude each other: ask for one of them.")

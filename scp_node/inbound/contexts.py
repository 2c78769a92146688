"""Which presentation contexts we accept: every storage class in every transfer syntax that the library knows."""

from __future__ import annotations

from collections.abc import Collection

from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import ALL_TRANSFER_SYNTAXES
from pynetdicom.presentation import (
    AllStoragePresentationContexts,
    PresentationContext,
    StoragePresentationContexts,
    build_context,
)
from pynetdicom.service_class import ServiceClass, StorageServiceClass
from pynetdicom.sop_class import register_uid, uid_to_service_class

from scp_node.dimse.services import STORAGE_COMMITMENT, VERIFICATION
from scp_node.inbound.guard import Permission

# The acceptor's order decides. With implicit first, senders that offer both would re-encode every explicit object.
# Big endian comes last: it is retired, and nobody offers it alone without reason.
_PREFERRED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
TRANSFER_SYNTAXES: tuple[str, ...] = (
    *_PREFERRED,
    *(syntax for syntax in ALL_TRANSFER_SYNTAXES if syntax not in (*_PREFERRED, ExplicitVRBigEndian)),
    ExplicitVRBigEndian,
)

STORAGE_CLASSES: tuple[str, ...] = tuple(
    sorted(
        {
            str(context.abstract_syntax)
            for context in (*AllStoragePresentationContexts, *StoragePresentationContexts)
            if context.abstract_syntax is not None
        }
    )
)
"""All of the library's, with the label maps and parametric maps that its default list lacks, and the retired ones
that its full list lacks."""


def know_retired_storage_classes() -> None:
    """Tell the library that retired storage classes are served like the others."""
    for number, sop_class in enumerate(STORAGE_CLASSES):
        if uid_to_service_class(sop_class) is ServiceClass:
            register_uid(sop_class, f"RetiredStorage{number}", StorageServiceClass)


class Contexts:
    """The lists of contexts to accept; made once and only read afterwards."""

    def __init__(self) -> None:
        syntaxes = list(TRANSFER_SYNTAXES)
        self._verification = build_context(VERIFICATION)
        self._storage = [build_context(sop_class, syntaxes) for sop_class in STORAGE_CLASSES]
        # The archive opens the association and keeps the provider's role; so it has to propose (PS3.7 D.3.3.4).
        self._commitment = build_context(STORAGE_COMMITMENT)
        self._commitment.scu_role, self._commitment.scp_role = False, True

    def accepted(
        self, permissions: Collection[Permission], *, commitment_as_provider: bool | None
    ) -> list[PresentationContext]:
        """Contexts for one caller.

        We are no archive: a caller that proposes storage commitment in the usual roles asks us to take over its
        images, and is refused. Only of an archive from which we ask commitment ourselves a proposal without roles is
        taken for what it must mean.

        Parameters
        ----------
        permissions : collection of Permission
            What the caller may do.
        commitment_as_provider : bool or None
            Whether it proposes to be the provider of storage commitment; ``None`` if it proposes no roles.
        """
        contexts = [self._verification]
        if Permission.STORE in permissions:
            contexts += self._storage
        may_report = Permission.REPORT_COMMITMENT in permissions
        if may_report and commitment_as_provider is not False:
            contexts.append(self._commitment)
        return contexts

"""UIDs of the services that this node speaks (PS3.6 annex A)."""

from __future__ import annotations

from typing import Final

from pydicom.uid import UID

VERIFICATION: Final = UID("1.2.840.10008.1.1")
STORAGE_COMMITMENT: Final = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model SOP Class."""
STORAGE_COMMITMENT_INSTANCE: Final = UID("1.2.840.10008.1.20.1.1")
"""Its one well-known instance."""
STUDY_ROOT_FIND: Final = UID("1.2.840.10008.5.1.4.1.2.2.1")
"""Study Root Query/Retrieve Information Model - FIND."""

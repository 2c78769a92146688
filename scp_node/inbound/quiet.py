"""Silence for the libraries: what they say may hold values of data sets. The journal has our own words."""

from __future__ import annotations

import logging
import warnings

from pynetdicom import _config as library_settings


def quiet_libraries() -> None:
    """Let pynetdicom and pydicom write nothing."""
    library_settings.LOG_HANDLER_LEVEL = "none"
    warnings.simplefilter("ignore")
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.setLevel(logging.CRITICAL + 1)

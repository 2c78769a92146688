"""MR imaging of the liver: its volume, and candidates of lesions with their axes.

Read on in ``expectations.py`` (what a study must hold), ``roles.py`` (which sequence is what), ``reading.py`` (the main
line), ``liver.py`` and ``lesions.py`` (what is measured), ``answer.py`` (what it means), ``thresholds.py`` (every
number that a site may change).
"""

from analyzers.contract import Analyzer
from analyzers.mri.expectations import accepts, expects
from analyzers.mri.montage import illustrate
from analyzers.mri.reading import analyze

ANALYZER = Analyzer(
    name="mri",
    version="0.1.0",
    expects=expects,
    accepts=accepts,
    analyze=analyze,
    illustrate=illustrate,
)

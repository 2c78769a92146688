"""MR imaging of the liver: its volume, and candidates of lesions with their axes.

Read on in ``expectations.py`` (what a study must hold), ``roles.py`` (which sequence is what), ``reading.py`` (the main
line), ``liver.py`` and ``lesions.py`` (what is measured), ``answer.py`` (what it means), ``thresholds.py`` (every
number that a site may change).
"""

from functools import partial

from analyzers.contract import Analyzer
from analyzers.mri.expectations import accepts, expects
from analyzers.mri.montage import illustrate
from analyzers.mri.reading import analyze
from analyzers.mri.thresholds import DEFAULT, MriThresholds


def analyzer_with(thresholds: MriThresholds) -> Analyzer:
    """The MR analyzer, deciding with these thresholds."""
    return Analyzer(
        name="mri",
        version="0.1.0",
        expects=partial(expects, thresholds=thresholds),
        accepts=partial(accepts, thresholds=thresholds),
        analyze=partial(analyze, thresholds=thresholds),
        illustrate=partial(illustrate, thresholds=thresholds),
        thresholds=thresholds,
        with_thresholds=analyzer_with,
    )


ANALYZER = analyzer_with(DEFAULT)

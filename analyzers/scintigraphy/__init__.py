"""Perfusion scintigraphy of the pump: whether the whole liver is perfused, and nothing else.

Read on in ``expectations.py`` (what a study must hold), ``reading.py`` (the main line), ``planar.py`` and ``spect.py``
(what is measured), ``answer.py`` (what it means), ``thresholds.py`` (every number that a site may change).
"""

from functools import partial

from analyzers.contract import Analyzer
from analyzers.scintigraphy.expectations import accepts, expects
from analyzers.scintigraphy.montage import illustrate
from analyzers.scintigraphy.reading import analyze
from analyzers.scintigraphy.thresholds import DEFAULTS, Thresholds


def analyzer_with(thresholds: Thresholds) -> Analyzer:
    """The scintigraphy analyzer, deciding with these thresholds."""
    return Analyzer(
        name="scintigraphy",
        version="0.3.0",
        expects=expects,
        accepts=accepts,
        analyze=partial(analyze, thresholds=thresholds),
        illustrate=illustrate,
        thresholds=thresholds,
        with_thresholds=analyzer_with,
    )


ANALYZER = analyzer_with(DEFAULTS)

"""CT of the abdomen before and after the implantation of an infusion pump.

Read on in ``answer.py`` (the course of the analysis), then ``scan.py`` (what is surveyed in every scan) and the
structures: ``liver.py``, ``aorta.py`` with ``lumen.py``, ``pump.py``, ``catheter.py``. Every number that decides is in
``thresholds.py``.
"""

from functools import partial

from analyzers.contract import Analyzer
from analyzers.cta.answer import analyze
from analyzers.cta.expectations import accepts, expects
from analyzers.cta.montage import illustrate
from analyzers.cta.thresholds import DEFAULT, CtaThresholds


def analyzer_with(thresholds: CtaThresholds) -> Analyzer:
    """The CT analyzer, deciding with these thresholds."""
    return Analyzer(
        name="cta",
        version="0.1.0",
        expects=partial(expects, thresholds=thresholds),
        accepts=partial(accepts, thresholds=thresholds),
        analyze=partial(analyze, thresholds=thresholds),
        illustrate=illustrate,
        thresholds=thresholds,
        with_thresholds=analyzer_with,
    )


ANALYZER = analyzer_with(DEFAULT)
"""The CT analyzer, as registered."""

__all__ = ["ANALYZER"]

"""CT of the abdomen before and after the implantation of an infusion pump.

Read on in ``answer.py`` (the course of the analysis), then ``scan.py`` (what is surveyed in every scan) and the
structures: ``liver.py``, ``aorta.py`` with ``lumen.py``, ``pump.py``, ``catheter.py``. Every number that decides is in
``thresholds.py``.
"""

from analyzers.contract import Analyzer
from analyzers.cta.answer import analyze
from analyzers.cta.expectations import accepts, expects
from analyzers.cta.montage import illustrate

ANALYZER = Analyzer(
    name="cta", version="0.1.0", expects=expects, accepts=accepts, analyze=analyze, illustrate=illustrate
)
"""The CT analyzer, as registered."""

__all__ = ["ANALYZER"]

"""Organs of the trunk on CT, for every analyzer that is given one: outline, spine, lungs, wall, liver.

Read on in ``patient_grid.py`` (the grid on which organs are found), ``survey.py`` (what is found on it, in which
order), ``liver.py`` (the organ that matters most here). Nothing here knows of studies, reports or phantoms.
"""

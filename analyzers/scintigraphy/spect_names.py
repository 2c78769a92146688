"""Names of the segments of a SPECT answer: the result, its pages and later answers find them by these."""

LIVER_SEGMENT, CT_LIVER_SEGMENT, LUNGS_SEGMENT = "perfused-liver", "ct-liver", "ct-lungs"
LOBE_SEGMENTS = {"right": "right-lobe", "left": "left-lobe"}

"""DICOM objects out: what an analysis found becomes SR, SEG and Secondary Capture.

Encoding runs in a child process of its own, ``python -m scp_node.objects JOB_FOLDER``. The pipeline writes the order
(``order.py``) and reads the manifest (``manifest.py``); read on in ``encoding.py``.
"""

"""Synthetic HAI-pump studies whose true measurements are known.

A phantom is a complete study, as a scanner would push it, made of physics and anatomy alone: nothing here
knows how an analyzer works, so an analyzer that answers a phantom rightly has proved something.

Run ``python -m analyzers.phantoms cta|mri|scintigraphy OUT --seed N``. The patient frame is LPS mm: x grows
to the patient's left, y to the back, z to the head. Arrays are indexed z, y, x.
"""

"""Measurements of images: features, tone, lesion structure, fidelity, near copies, filters."""

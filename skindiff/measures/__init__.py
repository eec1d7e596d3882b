"""What can be said of images: features, tone, lesion structure, fidelity, near copies, filters."""

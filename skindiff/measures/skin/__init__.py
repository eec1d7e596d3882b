"""Skin tone, and what a transfer does to the lesion."""

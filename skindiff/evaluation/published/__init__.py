"""The papers' numbers."""

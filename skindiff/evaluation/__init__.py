"""Evaluation: one folder per question."""

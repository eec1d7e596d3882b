"""Classifiers: networks, fine-tuning, arms, cells and their scores."""

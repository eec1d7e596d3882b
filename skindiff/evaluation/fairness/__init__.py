"""Whom an arm helps and whom it hurts: scores by skin type (or any other group of patients) and class."""

"""Paired intervals over groups and seeds, and the verdicts that follow from them."""

"""Is it any good: one folder per question."""

"""Is it any good: arms, scores, statistics, skin tone and the report."""

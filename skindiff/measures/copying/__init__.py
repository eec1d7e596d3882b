"""Is it only copying."""

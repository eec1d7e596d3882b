"""The public functions, by which notebooks and scripts do what commands and recipes do."""

"""The interface to base models: what training and synthesis ask of an architecture, and a file for each."""

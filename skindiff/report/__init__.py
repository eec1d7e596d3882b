"""The report: its content, text and pictures."""

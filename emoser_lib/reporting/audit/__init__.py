"""The audit: what leaks, what an interval is worth, what was chosen on what."""

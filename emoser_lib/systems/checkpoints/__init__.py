"""Checkpoints: which are known, where their files are, how weights are loaded or converted."""

"""Runs: a notebook executed with its parameters, and its record."""

"""Scores, intervals, tests, calibration, and the challenge's results file."""

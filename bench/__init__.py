"""Measures this system beside its alternatives, in one run on one machine: `python -m bench`."""

"""Copies an endpoint's inputs to another installation; see `Mirror`."""

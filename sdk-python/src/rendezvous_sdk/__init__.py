"""Rendezvous for Python: publish a model in three lines, call an endpoint in two."""

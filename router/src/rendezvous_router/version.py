"""The router's version, as its package says."""

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("rendezvous-router")
"""Version of the package."""

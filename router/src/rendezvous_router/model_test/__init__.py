"""Checks of a candidate before it is published: golden cases, invariances, directions, hard values, load."""

from rendezvous_router.model_test.cases import Cases, CasesError, read_cases
from rendezvous_router.model_test.rows import ArchivePlace
from rendezvous_router.model_test.runner import run_model_test

__all__ = ["ArchivePlace", "Cases", "CasesError", "read_cases", "run_model_test"]

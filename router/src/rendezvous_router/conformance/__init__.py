"""The live conformance kit: the same cases against any running model, over gRPC and over the postbox.

`case` says what a case is; `cases/` holds them, one module a group; `site` is what they are given; `runner` runs them
and `report` tells. The kit acts as the router on the wire itself. Guide: docs/conformance.md.
"""

from rendezvous_router.conformance.case import CASES, Case
from rendezvous_router.conformance.known import KnownFailuresError, load_known_failures
from rendezvous_router.conformance.result import Report, Result, Status
from rendezvous_router.conformance.runner import run_kit
from rendezvous_router.conformance.site import SiteError, SiteOptions
from rendezvous_router.conformance.target import Target, TargetError, parse_target

__all__ = [
    "CASES",
    "Case",
    "KnownFailuresError",
    "Report",
    "Result",
    "SiteError",
    "SiteOptions",
    "Status",
    "Target",
    "TargetError",
    "load_known_failures",
    "parse_target",
    "run_kit",
]

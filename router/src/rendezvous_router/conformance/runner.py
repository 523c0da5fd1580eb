"""Runs cases one after another against one target."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch

from rendezvous_router.conformance import cases as _cases  # noqa: F401 # registers them
from rendezvous_router.conformance.case import CASES, Case, Failed, NotApplicable, applicable
from rendezvous_router.conformance.program import ProgramError
from rendezvous_router.conformance.result import Report, Result, Status
from rendezvous_router.conformance.site import Site, SiteOptions

__all__ = ["choose_cases", "run_kit"]

OnResult = Callable[[Result], None]


def choose_cases(only: Sequence[str] = ()) -> list[Case]:
    """Returns the cases that *only* names; without any, all.

    Args:
        only: ids (`grpc.describe`), doors (`grpc`) or patterns (`grpc.echo-*`).

    Raises:
        ValueError: something matches no case.
    """
    for pattern in only:
        if not any(_matches(case_id, pattern) for case_id in CASES):
            raise ValueError(f"no case is called {pattern!r}; `rendezvous conformance --list` lists them")
    return [case for case in CASES.values() if not only or any(_matches(case.id, pattern) for pattern in only)]


def _matches(case_id: str, pattern: str) -> bool:
    return fnmatch(case_id, pattern) or case_id.startswith(f"{pattern}.")


async def run_kit(
    options: SiteOptions,
    *,
    only: Sequence[str] = (),
    known: Mapping[str, str] | None = None,
    on_result: OnResult | None = None,
) -> Report:
    """Runs the kit.

    Args:
        options: what is tried, and how.
        only: ids or patterns of the cases to run; none: all.
        known: reasons of failures that are expected, by case.
        on_result: called after each case.

    Returns:
        What came of it.

    Raises:
        ValueError: *only* matches no case.
        SiteError: the target cannot be reached or started.
    """
    chosen = choose_cases(only)
    site = await Site.open(options)
    report = Report(target=str(options.target), model=_model_of(site))
    try:
        for case in chosen:
            result = await _run_case(case, site, (known or {}).get(case.id))
            report.results.append(result)
            if on_result is not None:
                on_result(result)
    finally:
        await site.close()
    return report


def _model_of(site: Site) -> dict[str, str]:
    fields = ("name", "version", "language", "runtime", "sdk", "task")
    return {name: str(getattr(site.info, name)) for name in fields}


async def _run_case(case: Case, site: Site, known: str | None) -> Result:
    started = time.monotonic()
    status, detail = await _outcome(case, site)
    if known is not None and status is Status.FAILED:
        status, detail = Status.KNOWN_FAILURE, f"{known} ({detail})"
    elif known is not None and status is Status.PASSED:
        status, detail = Status.NOW_PASSES, "now passes: take it off the list of known failures"
    return Result(
        id=case.id,
        title=case.title,
        group=case.group,
        rules=case.rules,
        status=status,
        seconds=time.monotonic() - started,
        detail=detail,
    )


async def _outcome(case: Case, site: Site) -> tuple[Status, str]:
    for reason in applicable(case.needs, site.there):
        return Status.NOT_APPLICABLE, reason
    try:
        await site.mend()
        async with asyncio.timeout(case.limit_s):
            word = await case.check(site)
    except NotApplicable as reason:
        return Status.NOT_APPLICABLE, str(reason)
    except TimeoutError:
        return Status.FAILED, f"not done within {case.limit_s:g} s"
    except (Failed, ProgramError) as error:
        return Status.FAILED, str(error) + _death(case, site)
    except Exception as error:  # noqa: BLE001 - what a target can make the kit's libraries raise is not foreseen
        return Status.FAILED, f"{type(error).__name__}: {error}{_death(case, site)}"
    return Status.PASSED, word or ""


def _death(case: Case, site: Site) -> str:
    """Tells when the target's process ended meanwhile."""
    if case.id.startswith("program."):
        return ""
    dead = [program for program in site.programs if not program.is_running]
    return f"; the process ended with status {dead[0].returncode}" if dead else ""

"""Runs the checks of a file of cases against one candidate."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from rendezvous_router.conformance.case import Failed, NotApplicable
from rendezvous_router.conformance.program import ProgramError
from rendezvous_router.conformance.result import Report, Result, Status
from rendezvous_router.conformance.site import Site, SiteError, SiteOptions
from rendezvous_router.model_test.candidate import Candidate, HungError
from rendezvous_router.model_test.cases import Cases, CasesError
from rendezvous_router.model_test.checks import ModelCheck, checks_of
from rendezvous_router.model_test.rows import ArchivePlace, Rows, read_rows

__all__ = ["run_model_test"]

_DYING_S = 0.5

OnResult = Callable[[Result], None]


async def run_model_test(
    cases: Cases,
    folder: Path,
    options: SiteOptions,
    place: ArchivePlace,
    *,
    only: Sequence[str] = (),
    on_result: OnResult | None = None,
) -> Report:
    """Reaches or starts the candidate, and checks it.

    Args:
        cases: what to check.
        folder: where the file of cases is.
        options: the candidate, and how it is reached.
        place: the archive, should rows come from it.
        only: ids, groups or patterns of the checks to run; none: all.
        on_result: called after each check.

    Raises:
        SiteError: the candidate cannot be reached or started.
        CasesError: the rows cannot be read, do not fit the candidate, or *only* matches nothing.
    """
    site = await Site.open(options)
    try:
        if not site.is_callable:
            raise SiteError(f"{options.target} has no gRPC address: let it serve gRPC, or give --address")
        rows = read_rows(cases, folder, site.info.signature, place) if cases.needs_rows else Rows(())
        if not cases.needs_rows:
            rows = Rows((), read_rows(cases, folder, site.info.signature, place).types)
        report = Report(target=str(options.target), model=_model_of(site))
        for check in _chosen(list(checks_of(cases, _columns(rows))), only):
            result = await _run(check, site, Candidate(site, rows, cases.call_limit_s))
            report.results.append(result)
            if on_result is not None:
                on_result(result)
    finally:
        await site.close()
    return report


def _columns(rows: Rows) -> dict[str, str]:
    known = dict.fromkeys(name for row in rows.rows for name in row)
    return {name: rows.types[name] for name in known if name in rows.types}


def _chosen(checks: list[ModelCheck], only: Sequence[str]) -> list[ModelCheck]:
    for pattern in only:
        if not any(_matches(check.id, pattern) for check in checks):
            raise CasesError(f"--only {pattern}: no check is called so, only {', '.join(check.id for check in checks)}")
    return [check for check in checks if not only or any(_matches(check.id, pattern) for pattern in only)]


def _matches(check_id: str, pattern: str) -> bool:
    return fnmatch(check_id, pattern) or check_id.startswith(f"{pattern}.")


async def _run(check: ModelCheck, site: Site, candidate: Candidate) -> Result:
    started = time.monotonic()
    status, detail = await _outcome(check, site, candidate)
    seconds = time.monotonic() - started
    return Result(
        id=check.id, title=check.title, group=check.group, rules=(), status=status, seconds=seconds, detail=detail
    )


async def _outcome(check: ModelCheck, site: Site, candidate: Candidate) -> tuple[Status, str]:
    try:
        await site.mend()
        async with asyncio.timeout(check.limit_s):
            return Status.PASSED, await check.run(candidate)
    except NotApplicable as reason:
        return Status.NOT_APPLICABLE, str(reason)
    except TimeoutError:
        await _end(site)
        return Status.FAILED, f"not done within {check.limit_s:g} s"
    except HungError as error:
        await _end(site)
        return Status.FAILED, str(error)
    except (Failed, ProgramError, CasesError) as error:
        return Status.FAILED, f"{error}{await _death(site)}"


async def _end(site: Site) -> None:
    """Ends a program that is still at it; `Site.mend` starts another one for the next check."""
    for program in site.programs:
        await program.kill()


async def _death(site: Site) -> str:
    """Tells when the candidate's process has ended, or does so in a moment: its connection may go first."""
    for program in site.programs:
        with contextlib.suppress(ProgramError):
            return f"; the process ended with status {await program.wait_ended(_DYING_S)}"
    return ""


def _model_of(site: Site) -> dict[str, str]:
    info = site.info
    told = {"name": info.name, "version": info.version, "language": info.language, "sdk": info.sdk, "task": info.task}
    return {name: value for name, value in told.items() if value}

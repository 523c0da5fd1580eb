"""Finds or starts the candidate that a job names."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from rendezvous_sdk.cli import load_target
from rendezvous_sdk.credentials import Credentials

from rendezvous_router.bridge.address import SCORE, FarAddress, parse_address
from rendezvous_router.bridge.errors import BridgeError
from rendezvous_router.replay.candidate import Candidate, LoadedCandidate, RemoteCandidate
from rendezvous_router.replay.errors import ReplayError
from rendezvous_router.replay.options import ReplayJob
from rendezvous_router.replay.program import started_candidate

__all__ = ["OpenedCandidate", "open_candidate", "parse_candidate_address"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCandidate:
    """A candidate and what it is called."""

    candidate: Candidate
    """The candidate."""
    where: str
    """What messages call it."""
    replica: str
    """What the rows say has scored."""


def parse_candidate_address(text: str) -> FarAddress:
    """Returns the address of a candidate: `host:port`, or `grpc://host:port/model`, `grpcs://...`.

    Raises:
        ReplayError: it is something else.
    """
    try:
        address = parse_address(text if "://" in text else f"{SCORE}://{text}")
    except BridgeError as error:
        raise ReplayError(str(error)) from error
    if address.scheme != SCORE:
        raise ReplayError(
            f"--address {text}: a replay asks the service Score; give such a server HOST:PORT or grpc://HOST:PORT. "
            "A server of the Open Inference Protocol joins an endpoint by `rendezvous bridge`"
        )
    return address


@contextlib.asynccontextmanager
async def open_candidate(job: ReplayJob) -> AsyncIterator[OpenedCandidate]:
    """Opens the candidate, and closes it afterwards.

    Raises:
        ReplayError: it cannot be started.
        RendezvousError, ImportError: what is to be loaded is no model, or needs a package.
    """
    async with contextlib.AsyncExitStack() as stack:
        candidate: Candidate
        if job.target:
            candidate, where, replica = _loaded(job), f"the model {job.target}", "replay"
        elif job.command:
            address = await stack.enter_async_context(
                started_candidate(
                    job.command,
                    endpoint=job.endpoint,
                    name=job.name,
                    version=job.version,
                    ready_limit_s=job.ready_limit_s,
                )
            )
            candidate, where, replica = _remote(job, FarAddress(scheme=SCORE, target=address), Credentials())
        else:
            candidate, where, replica = _remote(job, parse_candidate_address(job.address), Credentials.read())
        stack.push_async_callback(candidate.close)
        yield OpenedCandidate(candidate=candidate, where=where, replica=replica)


def _loaded(job: ReplayJob) -> LoadedCandidate:
    model = load_target(
        job.target, outputs=job.outputs, trust_pickle=job.trust_pickle, trusted_types=list(job.trusted_types)
    )
    return LoadedCandidate(model, name=job.name, version=job.version, timeout_s=job.timeout_s)


def _remote(job: ReplayJob, address: FarAddress, credentials: Credentials) -> tuple[RemoteCandidate, str, str]:
    candidate = RemoteCandidate(address, timeout_s=job.timeout_s, credentials=credentials)
    return candidate, f"the model at {address}", address.target

"""The conformance kit on the Java SDK."""

import pytest
from rendezvous_router.conformance import CASES, SiteOptions, Status, parse_target, run_kit
from rendezvous_router.conformance.known import load_known_failures

from tests.support.languages import require_language
from toolchains.languages import ROOT
from toolchains.programs import PROBE_JAR

KNOWN = ROOT / "sdk-java" / "conformance-known-failures.yaml"


@pytest.mark.timeout(240)
async def test_the_java_sdk_conforms() -> None:
    """Every case passes on the probe, but for the known failures, which fail; none is left out."""
    require_language("java")
    options = SiteOptions(target=parse_target("probe/java"), run=f"java -jar {PROBE_JAR}")
    report = await run_kit(options, known=load_known_failures(KNOWN))
    good = (Status.PASSED, Status.KNOWN_FAILURE)
    bad = [f"{result.id}: {result.detail}" for result in report.results if result.status not in good]
    assert bad == []
    assert [result.id for result in report.results] == list(CASES)

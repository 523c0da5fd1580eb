"""The conformance kit on the R SDK."""

import pytest
from rendezvous_router.conformance import CASES, SiteOptions, Status, parse_target, run_kit
from rendezvous_router.conformance.known import load_known_failures

from tests.support.languages import require_language
from toolchains.languages import R_LIBRARY, ROOT

pytestmark = pytest.mark.timeout(300)

KNOWN = load_known_failures(ROOT / "sdk-r" / "conformance-known-failures.yaml")


async def test_the_r_sdk_conforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every case passes on the probe but those that R's types forbid, each with its reason; none is left out."""
    require_language("r")
    monkeypatch.setenv("R_LIBS", str(R_LIBRARY))
    options = SiteOptions(target=parse_target("conformance/m"), run="Rscript -e rendezvous::rdv_probe()")
    report = await run_kit(options, known=KNOWN)
    fine = (Status.PASSED, Status.KNOWN_FAILURE)
    assert [f"{result.id}: {result.detail}" for result in report.results if result.status not in fine] == []
    assert [result.id for result in report.results] == list(CASES)
    assert report.is_good

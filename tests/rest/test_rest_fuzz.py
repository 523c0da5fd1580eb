"""REST against its own OpenAPI document: whatever schemathesis makes of it, no 5xx and no answer that is not in it."""

import json
import re

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.stack import Stack

EXAMPLES = 40
"""For each operation; `make fuzz` may have more."""
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def test_the_document_is_openapi(site: Stack, http: requests.Session) -> None:
    """The document has a path and sound schemas for each endpoint, and every reference leads somewhere."""
    document = http.get(f"{site.rest}/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        place = document
        for step in reference.split("/"):
            place = place[step]
    assert {"/v1/endpoints/echo/score", "/v1/endpoints/sum/score"} <= document["paths"].keys()
    assert document["components"]["schemas"]["sum.input"]["required"] == ["a", "b", "tag"]
    assert "required" in document["components"]["schemas"]["echo.input"]


def test_the_page_needs_nothing_from_elsewhere(site: Stack, http: requests.Session) -> None:
    """The page and all that it loads come from the router, and nothing else may be loaded or connected to."""
    page = http.get(f"{site.rest}/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert f'docs/{asset}"' in page.text
        assert http.get(f"{site.rest}/docs/{asset}").status_code == 200
    assert http.get(f"{site.rest}/docs/..%2fLICENSE").status_code == 404


def test_fuzzed(site: Stack, http: requests.Session) -> None:
    """Valid and invalid requests from the document get documented answers, and never a fault of ours."""
    document = http.get(f"{site.rest}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document)))
    schema.config.update(base_url=site.rest)
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        assert operation is not None

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case) -> None:
            response = case.call(session=http)
            if case.path != "/readyz":  # which may answer 503
                case.validate_response(response, checks=CHECKS)
            else:
                case.validate_response(response, checks=CHECKS[1:])

        ask()
        count += 1
    assert count >= 8

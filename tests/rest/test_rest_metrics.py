"""REST in the router's metrics."""

import requests

from tests.support.stack import Stack


def test_requests_are_counted_by_method_and_status(site: Stack, http: requests.Session) -> None:
    """Answers and refusals are calls of one method over HTTP, whatever paths are asked for."""
    url = f"{site.rest}/v1/endpoints/sum/score"
    assert http.post(url, json=[{"a": 1.5, "b": 2, "tag": "x"}]).status_code == 200
    assert http.post(url, data=b"{", headers={"content-type": "application/json"}).status_code == 400
    for number in range(20):
        assert http.post(f"{site.rest}/v1/endpoints/none-{number}/score", json=[]).status_code == 404
    page = http.get(f"{site.rest}/metrics").text
    lines = [line for line in page.splitlines() if line.startswith("rpc_server_call_duration_seconds_count")]
    methods = {
        line.partition('rpc_method="')[2].partition('"')[0] for line in lines if 'rpc_system_name="http"' in line
    }
    assert methods == {"POST /v1/endpoints/{endpoint}/score"}
    statuses = {line.partition('status_code="')[2].partition('"')[0] for line in lines if "POST /v1" in line}
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= statuses

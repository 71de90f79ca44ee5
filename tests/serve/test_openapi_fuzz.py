"""Whatever is sent by the OpenAPI document, or against it, is no fault of the server."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from tests.serve.conftest import serving

from demur.serve import app_of

schemathesis = pytest.importorskip("schemathesis")
EXAMPLES = 8
BOUNDED = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
NO_FAULTS = {503}
"""Deliberate ones, which say when to come again."""


@pytest.fixture(scope="module")
def operations(loaded):
    """What the document says can be done, by method and path."""
    with serving(loaded, timeout=5.0, hosts=("testserver", "localhost")) as (service, _):
        schema = schemathesis.openapi.from_asgi("/openapi.json", app_of(service))
        found = [result.ok() for result in schema.get_all_operations()]
        yield {f"{each.method.upper()} {each.path}": each for each in found}


def test_the_document_has_every_route_but_those_of_the_page(operations):
    assert {
        "GET /v2", "GET /v2/health/live", "GET /v2/health/ready", "GET /v2/models/{name}",
        "GET /v2/models/{name}/ready", "POST /v2/models/{name}/infer", "GET /v2/models/{name}/versions/{version}",
        "GET /v2/models/{name}/versions/{version}/ready", "POST /v2/models/{name}/versions/{version}/infer",
        "POST /v2/repository/models/{name}/load", "POST /predict", "GET /guards", "GET /guards/{name}", "GET /alarms",
        "POST /alarms/reset", "POST /feedback", "GET /metrics",
    } == set(operations)  # fmt: skip


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_no_request_is_a_fault(operations, mode):
    """Requests as the document has them, and such as it does not."""
    statuses = set()
    for name, operation in operations.items():
        if mode == "NEGATIVE" and not name.startswith("POST"):
            continue

        @BOUNDED
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
        def ask(case):
            if case.path_parameters and "name" in case.path_parameters and len(case.path_parameters["name"]) % 2:
                case.path_parameters["name"] = "tiny"
            answer = case.call()
            statuses.add(answer.status_code)
            assert answer.status_code < 500 or answer.status_code in NO_FAULTS, (case, answer.text)
            if answer.status_code >= 400:
                assert list(answer.json()) == ["error"], answer.text

        with suppress(*([] if mode == "POSITIVE" else [Unsatisfiable])):  # nothing can be wrong with a bare GET
            ask()
    assert {200, 404, 422} <= statuses if mode == "POSITIVE" else {404, 422} & statuses

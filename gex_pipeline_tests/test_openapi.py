"""The served OpenAPI document and the gateway agree, tried with generated requests, right ones and wrong ones."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gex_pipeline_tests.gateway_requests import KEY, get
from gex_pipeline_tests.processes import GatewayProcess

AUTHENTICATED = {"X-API-Key": KEY}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


OPERATIONS = [
    ("POST", "/gex"),
    ("POST", "/uw"),
    ("POST", "/gex_history_url"),
    ("GET", "/gex"),
    ("GET", "/gex/latest"),
    ("GET", "/gex/stream"),
    ("GET", "/gex/strikes"),
    ("GET", "/gex_history_queue"),
    ("GET", "/gex_history_queue/{request_id}"),
    ("GET", "/lineage"),
    ("GET", "/coverage"),
    ("GET", "/metrics"),
    ("GET", "/health"),
    ("GET", "/ready"),
]


@pytest.fixture(scope="module")
def document(guarded: GatewayProcess) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{guarded.url}/openapi.json", headers=AUTHENTICATED)


def test_the_document_names_these_operations(document: schemathesis.BaseSchema) -> None:
    raw = document.raw_schema["paths"].items()
    assert sorted(OPERATIONS) == sorted((method.upper(), path) for path, operations in raw for method in operations)


ENDING = [(method, path) for method, path in OPERATIONS if path != "/gex/stream"]  # its right answers never end
TRIED = [(method, path, GenerationMode.POSITIVE) for method, path in ENDING]
NOTHING_TO_GET_WRONG = {"/gex_history_queue", "/health", "/ready"}
TRIED += [(method, path, GenerationMode.NEGATIVE) for method, path in ENDING if path not in NOTHING_TO_GET_WRONG]


@pytest.mark.parametrize(("method", "path", "mode"), TRIED)
def test_every_answer_is_one_the_document_names(
    document: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode
) -> None:
    @settings(
        max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(document[path][method].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=AUTHENTICATED, checks=CHECKS)

    ask()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_to_a_stranger_is_one_the_document_names(
    document: schemathesis.BaseSchema, method: str, path: str
) -> None:
    @settings(max_examples=3, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(document[path][method].as_strategy())
    def ask(case: schemathesis.Case[Any]) -> None:
        answer = case.call_and_validate(checks=CHECKS)
        assert answer.status_code == (200 if path in {"/health", "/ready"} else 401)

    ask()


def test_the_document_promises_no_status_that_is_never_given(document: schemathesis.BaseSchema) -> None:
    for operations in document.raw_schema["paths"].values():
        assert all("422" not in operation["responses"] for operation in operations.values())


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_what_health_answers_has_a_schema(document: schemathesis.BaseSchema, path: str) -> None:
    for answer in document.raw_schema["paths"][path]["get"]["responses"].values():
        assert "status" in answer["content"]["application/json"]["schema"]["required"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_no_page_of_the_document_asks_other_hosts(gateway: GatewayProcess, path: str) -> None:
    assert get(gateway, path).status_code == 404


def test_the_document_says_where_the_key_goes(guarded: GatewayProcess, gateway: GatewayProcess) -> None:
    served = get(guarded, "/openapi.json", AUTHENTICATED).json()
    schemes = served["components"]["securitySchemes"]
    assert {scheme["type"]: scheme.get("name") for scheme in schemes.values()} == {
        "http": None,
        "apiKey": "X-API-Key",
    }
    asking = {
        path for path, operations in served["paths"].items() for each in operations.values() if "security" in each
    }
    assert asking == {path for _, path in OPERATIONS} - {"/health", "/ready"}
    assert "security" not in get(gateway, "/openapi.json").text

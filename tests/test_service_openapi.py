"""Schemathesis: requests made of the OpenAPI document, right ones and wrong ones; no answer may be an accident."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from serving import encoded, picture, running

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

pytestmark = pytest.mark.slow
OPERATIONS = {
    "GET /health", "GET /ready", "GET /metrics", "GET /v1/models",
    "POST /", "POST /models/{owner}/{name}", "POST /v1/segment", "POST /v1/composite",
}  # fmt: skip


@pytest.fixture(scope="module")
def operations() -> Iterator[dict[str, Any]]:
    """Every operation of the document by its method and path; requests go to a real server."""
    with running(workers=2, max_bytes=100_000, max_pixels=1_000_000) as server:
        document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        found = (result.ok() for result in document.get_all_operations())
        yield {f"{each.method.upper()} {each.path}": each for each in found}


def test_the_document_has_these_operations(operations: dict[str, Any]) -> None:
    assert set(operations) == OPERATIONS


Change = Callable[[Any], None]


def as_it_is(_: Any) -> None:
    pass


def with_a_picture(case: Any) -> None:
    """So that requests come as far as the work."""
    data = encoded(picture())
    if isinstance(case.body, dict):
        for key in {"inputs", "image"} & set(case.body):
            case.body[key] = base64.b64encode(data).decode() if "json" in case.media_type else data
    else:
        case.body = data
    if case.path_parameters:
        case.path_parameters["name"] = "echo"
    if case.query and "model" in case.query:
        case.query["model"] = "echo"


RIGHT = [(name, "POSITIVE", change) for name in sorted(OPERATIONS) for change in (as_it_is, with_a_picture)]
# Of other operations any bytes are a right body, and there are no options.
WRONG = [(name, "NEGATIVE", as_it_is) for name in ("POST /v1/segment", "POST /v1/composite")]


@pytest.mark.parametrize(("name", "mode", "change"), [*RIGHT, *WRONG])
def test_answers_are_as_documented_and_none_is_an_accident(
    operations: dict[str, Any], name: str, mode: str, change: Change
) -> None:
    statuses: Counter[int] = Counter()
    # That bytes are a picture is more than a schema can say; and what is changed counts as wrong.
    excluded = [schemathesis.checks.positive_data_acceptance]
    excluded += [schemathesis.checks.negative_data_rejection] if change is with_a_picture else []

    @settings(
        max_examples=200 if name.startswith("POST") else 3,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations[name].as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
    def ask(case: Any) -> None:
        change(case)
        response = case.call(timeout=10)
        statuses[response.status_code] += 1
        assert response.status_code < 500
        case.validate_response(response, excluded_checks=excluded)

    ask()
    assert statuses
    assert change is as_it_is or statuses[200]

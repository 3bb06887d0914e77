"""Schemathesis on the routes of streams: requests made of the document, right ones and wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from serving import running

from rtseg.live.fleet import LocalFleet
from rtseg.live.options import parse_stream
from rtseg.live.streamset import StreamSet
from rtseg.service.allow import Allowed, parse_place
from rtseg.service.fleet import Streams

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

pytestmark = pytest.mark.slow
OPERATIONS = {
    "GET /v1/streams", "POST /v1/streams", "GET /v1/streams/{name}", "PATCH /v1/streams/{name}",
    "DELETE /v1/streams/{name}", "POST /v1/streams/{name}/sinks", "DELETE /v1/streams/{name}/sinks/{sink}",
    "GET /v1/streams/{name}/events", "GET /v1/streams/{name}/snapshot.jpg", "GET /v1/streams/{name}/stream.mjpeg",
}  # fmt: skip


@pytest.fixture(scope="module")
def operations() -> Iterator[dict[str, Any]]:
    fleet = LocalFleet(StreamSet(capacity=None))
    fleet.add(parse_stream({"name": "door", "source": {"type": "synthetic", "graph": "testsrc2=size=96x64:rate=25"}}))
    allowed = Allowed(add=True, sources=(parse_place("sample"),), models=frozenset({"portrait"}))
    with running(streams=Streams(fleet, allowed)) as server:
        document = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        found = (result.ok() for result in document.get_all_operations())
        yield {name: each for each in found if (name := f"{each.method.upper()} {each.path}") in OPERATIONS}


def test_the_document_has_these_operations(operations: dict[str, Any]) -> None:
    assert set(operations) == OPERATIONS


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_answers_are_as_documented_and_none_is_an_accident(operations: dict[str, Any], name: str, mode: str) -> None:
    if (name, mode) == ("GET /v1/streams", "NEGATIVE"):
        pytest.skip("it has no options that could be wrong")
    statuses: Counter[int] = Counter()
    # What may be named is the operator's, which no schema says; names of streams that there are are few.
    excluded = [schemathesis.checks.positive_data_acceptance, schemathesis.checks.negative_data_rejection]

    @settings(
        max_examples=60 if name.startswith(("POST", "PATCH")) else 15,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations[name].as_strategy(generation_mode=schemathesis.GenerationMode[mode]))
    def ask(case: Any) -> None:
        if name.startswith("PATCH") or "GET" in name or name.endswith("/sinks"):
            if mode == "POSITIVE" and case.path_parameters:
                case.path_parameters["name"] = "door"
            if mode == "POSITIVE" and name.endswith(("events", "mjpeg")):
                case.query = {**(case.query or {}), "limit": 1, "rate": 60.0, "records": True}
                if not name.endswith("events"):
                    del case.query["records"]
        response = case.call(timeout=10)
        statuses[response.status_code] += 1
        assert response.status_code < 500
        case.validate_response(response, excluded_checks=excluded)

    ask()
    assert statuses

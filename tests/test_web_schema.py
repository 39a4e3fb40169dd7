"""The description of REST and the service agree: whatever is made up from it, the service answers in its own words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fixtures_web import drawn, serving

pytest.importorskip("fastapi", reason="needs the extra serve")
schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis, of the extra dev")

from hypothesis import HealthCheck, given, seed, settings  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def description() -> Iterator[Any]:
    with serving("--model", "scenes:vgg", "--model", "scenes:captioner", "--model", "scenes:vqa") as (_, url):
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def try_all(description: Any, examples: int, image: bytes | None = None) -> dict[str, set[int]]:
    """Asks every route what is made up from the description; the statuses that came back."""
    statuses: dict[str, set[int]] = {}
    for found in description.get_all_operations():
        route = found.ok()
        if image is not None and route.method != "post":
            continue

        @settings(max_examples=examples, deadline=None, suppress_health_check=[*HealthCheck], database=None)
        @seed(0)
        @given(case=route.as_strategy())
        def ask(case: Any) -> None:
            if image is not None and isinstance(case.body, dict):
                case.body["image"] = image
            response = case.call()
            statuses.setdefault(case.operation.path, set()).add(response.status_code)
            case.validate_response(response, checks=CHECKS)
            assert response.status_code < 400 or [*response.json()] == ["error"]

        ask()
    return statuses


def test_nothing_made_up_breaks_it(description: Any) -> None:
    statuses = try_all(description, 4)
    assert len(statuses) == 7 and statuses["/v1/models"] == {200}


@pytest.mark.slow
def test_nothing_made_up_breaks_it_for_long(description: Any) -> None:
    statuses = try_all(description, 200)
    assert len(statuses) == 7 and 500 not in set().union(*statuses.values())


@pytest.mark.slow
def test_nothing_made_up_beside_a_real_picture_breaks_it(description: Any) -> None:
    statuses = try_all(description, 100, drawn())
    assert len(statuses) == 3 and all(found & {200, 422} for found in statuses.values())

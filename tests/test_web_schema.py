"""The description of REST and the service agree: whatever is made up from it, the service answers in its own words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import wherefore as wf
from fixtures_web import drawn

pytest.importorskip("fastapi", reason="needs the extra serve")
schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis, of the extra dev")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from wherefore.web.app import create_app

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
QUIET = {"deadline": None, "suppress_health_check": [*HealthCheck], "database": None, "derandomize": True}


@pytest.fixture(scope="module")
def app() -> Iterator[Any]:
    app = create_app({name: wf.load(name) for name in ("scenes:vgg", "scenes:captioner", "scenes:vqa")})
    with TestClient(app):  # whose worker runs
        yield app


@pytest.fixture(scope="module")
def description(app: Any) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


schema = schemathesis.pytest.from_fixture("description")


def ask(case: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            assert [*response.json()] == ["error"]


@schema.parametrize()
@settings(max_examples=4, **QUIET)
def test_nothing_made_up_breaks_it(case: Any) -> None:
    ask(case)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=150, **QUIET)
def test_nothing_made_up_breaks_it_for_long(case: Any) -> None:
    ask(case)


@pytest.mark.slow
@schema.include(method="POST").parametrize()
@settings(max_examples=60, **QUIET)
def test_with_a_real_picture_neither(case: Any) -> None:
    """Fields that are made up, and a picture that can be read."""
    if isinstance(case.body, dict):
        case.body["image"] = drawn()
    ask(case)


# A picture that a network can be asked about, so that generated forms reach it.
schemathesis.openapi.media_type("image/png", st.just(drawn()))

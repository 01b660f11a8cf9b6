import re
from typing import Any

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from config.api_urls import urlpatterns


@pytest.fixture(scope="module")
def schema() -> Any:
    GENERATOR_STATS.reset()
    return SchemaGenerator().get_schema(request=None, public=True)


def test_the_document_is_valid_and_made_without_warnings(schema: Any) -> None:
    validate_schema(schema)
    assert not GENERATOR_STATS


def test_every_endpoint_is_described(schema: Any) -> None:
    described = {path.removeprefix("/api/v1/") for path in schema["paths"] if path.startswith("/api/v1/")}
    assert described == {re.sub("<int:(pk|id)>", "{id}", str(url.pattern)) for url in urlpatterns}


def test_every_operation_takes_a_key_or_a_session(schema: Any) -> None:
    assert schema["components"]["securitySchemes"]["apiKey"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["security"] == [{"apiKey": []}, {"cookieAuth": []}], f"{method} {path}"


def test_the_door_for_readings_says_what_it_takes_and_answers(schema: Any) -> None:
    door = schema["paths"]["/api/v1/readings/"]["post"]
    reading = schema["components"]["schemas"]["ReadingInRequest"]
    assert reading["required"] == ["sensor_id", "timestamp", "value"]
    assert set(reading["properties"]) == {"sensor_id", "timestamp", "value", "quality", "unit"}
    assert set(door["responses"]) >= {"200", "201", "400", "413", "415", "422"}

"""Requests that need no model: models, errors in OpenAI's form, state, metrics, schema."""

import json

import pytest
from api_server import asking


async def test_models_are_the_profiles_and_their_strategies(client):
    async with client(profiles=("tiny", "tiny-light")) as http:
        models = (await http.get("/v1/models")).json()["data"]
        names = [model["id"] for model in models]
        assert names[:5] == ["tiny", "tiny/selector", "tiny/uniform", "tiny/all", "tiny/blind"]
        assert "tiny-light/uniform" in names
        assert (await http.get("/v1/models/tiny/uniform")).json() == models[2]
        for unknown in ("gpt-4", "tiny/oracle", "tiny/given", "laptop", "/", "\ud800"):
            reply = await http.post("/v1/chat/completions", content=json.dumps(asking("x") | {"model": unknown}), headers=JSON)
            assert reply.status_code == 404
            assert reply.json()["error"]["code"] == "model_not_found"


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "[]", "null", '"x"', "{}", '{"model": 1, "messages": []}', '{"model": "tiny", "messages": []}', "[" * 100_000,
        '{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}',
        '{"model": "tiny", "messages": [{"role": "user", "content": "no visual"}]}',
        '{"model": "tiny", "messages": [{"role": "user", "content": "' + "x" * 100_000 + '"}]}',
        '{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "\\ud800"}}]}]}',
    ],
)  # fmt: skip
async def test_a_body_that_is_no_request_is_refused_in_one_sentence(client, body):
    async with client() as http:
        for path in ("/v1/chat/completions", "/v1/ask", "/v1/judge"):
            reply = await http.post(path, content=body, headers=JSON)
            assert reply.status_code == 400
            assert "\n" not in reply.json()["error"]["message"]
        assert (await http.get("/health")).status_code == 200


async def test_unknown_paths_and_methods_have_errors_in_the_same_form(client):
    async with client() as http:
        assert (await http.get("/v2")).json()["error"]["type"] == "invalid_request_error"
        assert (await http.get("/v1/ask")).status_code == 405


async def test_health_is_not_readiness(client):
    async with client() as http:
        assert (await http.get("/health")).json() == {"status": "ok"}
        ready = await http.get("/ready")  # no model is loaded
        assert (ready.status_code, ready.json()) == (503, {"status": "loading"})


async def test_metrics_count_by_route_not_by_path(client):
    async with client() as http:
        await http.get("/v1/files/file-00")
        await http.get("/v1/nothing/of/that")
        text = (await http.get("/metrics")).text
    assert 'espresso_requests_total{route="/v1/files/{name}",status="404"} 1.0' in text
    assert 'espresso_requests_total{route="other",status="404"} 1.0' in text
    assert "espresso_requests_waiting 0.0" in text


async def test_the_schema_documents_our_records(client):
    async with client() as http:
        schema = (await http.get("/openapi.json")).json()
    assert {"/v1/chat/completions", "/v1/ask", "/v1/judge", "/v1/files", "/health", "/ready"} <= set(schema["paths"])
    assert {"Answer", "AskRequest", "JudgeResult", "ChatReply", "ErrorReply"} <= set(schema["components"]["schemas"])


async def test_an_unexpected_error_is_logged_and_not_told(service, client, caplog, monkeypatch):
    monkeypatch.setattr("serving.service.Service.find", lambda *_: 1 / 0)
    async with client() as http:
        reply = await http.post("/v1/ask", json={"model": "tiny", "visuals": ["x"], "text": "What?"})
    assert reply.status_code == 500
    assert "ZeroDivision" not in reply.text
    assert reply.json()["error"]["type"] == "server_error"

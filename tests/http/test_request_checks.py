"""Closed by default: what names no scope answers nobody, and without a key only what is listed does."""

import re

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from agent_service.server import auth
from agent_service.server.app import create_app
from agent_service.service.config import ServiceConfig


async def secret(request=None):
    return PlainTextResponse("secret")


@pytest.fixture
async def app(tmp_path):
    section = {"catalog": "none", "state": tmp_path / "state"}
    app = create_app(ServiceConfig(service=section, sink={"kind": "claim"}, source={"kind": "none"}))
    async with app.router.lifespan_context(app):
        yield app


async def ask(app, path, *, key=True, method="GET"):
    headers = {"Authorization": f"Apikey {app.state.service.access.owner_key}"} if key else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        return (await http.request(method, path, headers=headers)).status_code


def bare_route(app, at):
    app.add_api_route(at, secret)


def bare_starlette_route(app, at):
    app.router.routes.append(Route(at, secret))


def mount(app, at):
    app.mount(at, Starlette(routes=[Route("/", secret)]))


def included_router(app, at):
    router = APIRouter()
    router.add_api_route("", secret)
    app.include_router(router, prefix=at)


def mount_that_comes_first(app, at):
    app.router.routes.insert(0, Mount("/api/v1", Starlette(routes=[Route("/queue", secret)])))


NEW = [bare_route, bare_starlette_route, mount, included_router, mount_that_comes_first]


@pytest.mark.parametrize("at", ["/web", "/api/v1/web", "/docs-assets"])
@pytest.mark.parametrize("add", NEW, ids=lambda one: one.__name__)
async def test_what_is_added_without_a_scope_answers_nobody(app, add, at):
    assert await ask(app, "/healthz") == 200  # the routes were looked at before
    add(app, at)
    for path in (at, f"{at}/") if add is not mount_that_comes_first else ("/api/v1/queue",):
        assert await ask(app, path, key=False) == 401
        assert await ask(app, path) in (403, 307)  # closed, or sent where it is closed
    assert await ask(app, "/healthz", key=False) == 200


async def test_what_is_listed_answers_everybody(app, monkeypatch, tmp_path):
    monkeypatch.setattr(auth, "OPEN", auth.OPEN | {"/web"})
    section = {"catalog": "none", "state": tmp_path / "other"}
    other = create_app(ServiceConfig(service=section, sink={"kind": "claim"}, source={"kind": "none"}))
    bare_route(other, "/web")
    async with other.router.lifespan_context(other):
        assert await ask(other, "/web", key=False) == await ask(other, "/web") == 200


REFUSE_BY_THEMSELVES = ("/", "/api/v1/sessions")
"""Open, and 401 all the same to a program without a key, or to who logs in with nothing: see test_page.py."""


async def test_every_route_there_is_names_a_scope_or_is_listed(app):
    routes = list(iter_route_contexts(app.router.routes))
    assert len(routes) > 40
    for route in routes:
        if route.path is None:  # it guards itself
            assert route.needs
            continue
        if route.path in REFUSE_BY_THEMSELVES:
            assert route.path in auth.OPEN
            continue
        path, method = re.sub(r"{\w+}", "nobody", route.path), min(route.methods - {"HEAD"})
        status = await ask(app, path, key=False, method=method)
        assert (status == 401) is (route.path not in auth.OPEN), route.path


async def test_there_is_no_websocket(app):
    @app.websocket("/ws")
    async def ws(socket):
        await socket.accept()

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "app": app}, receive, send)
    assert [one["type"] for one in sent] == ["websocket.close"]

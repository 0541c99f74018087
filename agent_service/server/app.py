"""The application: the one place that names concrete classes and puts them together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from agent_service._version import __version__
from agent_service.errors import UsageError
from agent_service.server import auth, error_responses, request_checks
from agent_service.server.allowed_hosts import Hosts
from agent_service.server.cached_reads import CachedReads
from agent_service.server.direct_calls import DirectCalls
from agent_service.server.known_queries import KNOWN_QUERY
from agent_service.server.page_origins import PageOrigins
from agent_service.server.repeats import Repeats
from agent_service.server.routes import (
    agents,
    api_page,
    brain,
    claims,
    conditions,
    documents,
    events,
    health,
    jobs,
    page,
    panel_keys,
    points,
    queue,
    script_variables,
    service as service_routes,
    sessions,
    suggestions,
)
from agent_service.server.stop_signals import on_stop_signals
from agent_service.service.compose import compose
from agent_service.service.config import ServiceConfig, config_from_environment
from agent_service.service.panel_keys import PanelKeys

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


DESCRIPTION = """Agents that steer adaptive experiments on Bluesky: they *suggest* points, *ingest* outcomes, and
*report* what they think. Every route but `/healthz`, `/readyz` and `POST /api/v1/sessions` asks for a key,
`Authorization: Apikey KEY`, and names the scope that it must have."""


def create_app(config: ServiceConfig | None = None, *, engine: Any = None, headless: bool = True) -> FastAPI:
    """Return the ASGI application for one service.

    Parameters
    ----------
    config
        The configuration; None reads the file that ``AGENT_SERVICE_CONFIG`` names, or takes the defaults.
    engine
        A RunEngine of this process, to be subscribed as the source of documents and never called; its plans are then
        to be claimed (``[sink] kind = "claim"``).
    headless
        Whether the service has its process to itself. Agents with ``executor = "auto"`` live in processes of their own
        then, else in threads of this one.

    Returns
    -------
    fastapi.FastAPI
        Nothing runs before its lifespan begins; ``app.state.service`` is the running `Service` then.

    Raises
    ------
    UsageError
        The configuration is wrong. The state directory is looked at when the lifespan begins.

    Examples
    --------
    >>> app = create_app(ServiceConfig(service={"catalog": "none"}))
    >>> app.title
    'agent-service'
    """
    settled = config_from_environment() if config is None else config
    if engine is not None and (settled.sink.own_engine or not settled.hears("run_engine")):
        raise UsageError('a RunEngine of yours is never called by the service: set [sink] kind = "claim"')

    of_pages = PanelKeys()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        early = getattr(app.state, "early_engine", None)  # of who made this application
        service = await compose(settled, engine, of_pages, headless=headless, early_engine=early)
        app.state.service = service
        service.say = getattr(app.state, "say", service.say)
        await service.start()
        try:
            with on_stop_signals(service.stopping.set):
                yield
        finally:
            await service.stop()

    app = FastAPI(
        title="agent-service",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=error_responses.RESPONSES,
        docs_url=None,
        redoc_url=None,
    )
    app.root_path = settled.service.root_path  # as a parameter it is deprecated: left to who serves it
    security = settled.security
    opened = [*auth.OPEN, *(["/metrics"] if security.metrics == "open" else [])]
    hosts = Hosts(security.allowed_hosts, security.cors_origins)
    app.add_middleware(Repeats)
    app.add_middleware(
        request_checks.RequestChecks,
        hosts=hosts,
        closed=auth.Closed(opened),
        neighbours=security.variables == "loopback",
    )
    # outside these checks, so that a page can read its refusals too
    app.add_middleware(PageOrigins, origins=security.cors_origins, panel_keys=of_pages)
    error_responses.install(app)
    app.router.routes[:0] = [CachedReads(), DirectCalls()]
    # in the order in which they are tried: what a brain is asked is asked most
    rarely = (events, queue, conditions, documents, jobs, panel_keys, points, sessions)
    for routes in (brain, service_routes, agents, suggestions, claims, *rarely):
        app.include_router(routes.router, prefix="/api/v1", dependencies=[KNOWN_QUERY])
    app.include_router(script_variables.router)
    app.include_router(health.router)
    app.include_router(api_page.router)
    app.include_router(page.router)
    return app

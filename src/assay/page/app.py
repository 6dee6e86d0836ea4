"""The page as one ASGI application, as it is served and as tests ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from assay.base.errors import AssayError, DiskError, InternalError, UsageError
from assay.base.files import as_json
from assay.page import lakes, runs
from assay.page.access import AccessControl, RefusalError, file_policy
from assay.page.events import Broadcast
from assay.page.lookup import NOT_FOUND, account_folder_of, file_below, flow_folder, run_folder
from assay.page.rendering import TYPES, assets, environment, page
from assay.page.resources import RESOURCES, Asked, Resource, status_of
from assay.page.run_list import RunList
from assay.report.account import nav_figures
from assay.runs.home import Home

SECTIONS = {"runs": "Runs", "compare": "Compare", "accounts": "Accounts", "lakes": "Lakes", "flows": "Flows"}
TEXT_TYPES = {".json": "application/json", ".html": "text/html", ".svg": "image/svg+xml"}
TEXTS = frozenset({".md", ".txt", ".jsonl", ".log"})


def create_app(home: Home, *, token: str | None = None, hosts: Collection[str] = ()) -> ASGIApp:
    """Return the application.

    Parameters
    ----------
    home : Home
        Need not exist yet; nothing below it is written.
    token : str, optional
        What every request must bring.
    hosts : collection of str
        Names by which browsers may call the server, besides ``localhost`` and addresses in figures.
    """
    site = Site(home)
    routes = [
        Route("/", site.page(RESOURCES[0]), methods=["GET"]),
        Route("/events", site.events, methods=["GET"]),
        Route("/static/{name}", site.asset, methods=["GET"]),
        Route("/runs/{run}/files/{path:path}", site.run_file, methods=["GET"]),
        Route("/flows/{flow}/files/{path:path}", site.flow_file, methods=["GET"]),
        Route("/accounts/{account}/files/{path:path}", site.account_file, methods=["GET"]),
    ]
    for resource in RESOURCES:
        routes.append(Route(resource.path, site.page(resource), methods=["GET"]))
        routes.append(Route(f"/api{resource.path}", site.answer(resource), methods=["GET"]))
    app = Starlette(
        routes=routes,
        exception_handlers={AssayError: failed, OSError: failed, HTTPException: failed, Exception: failed},
        lifespan=site.lifespan,
    )
    return AccessControl(app, refuse=refused, token=token, hosts=hosts)


class Site:
    """Handlers of one home's page.

    Parameters
    ----------
    home : Home
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.run_list = RunList(home)
        self.broadcast: Broadcast | None = None

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Read every run once before the first request, and look at them as long as the server runs."""
        await run_in_threadpool(self.run_list.refresh)
        for resource in RESOURCES:
            environment().get_template(resource.template)
        self.broadcast = Broadcast(self.run_list)
        async with self.broadcast.running():
            yield

    def _asked(self, request: Request) -> Asked:
        return Asked(self.home, self.run_list, request.path_params, request.query_params)

    def page(self, resource: Resource) -> Any:
        """Return the handler that shows a resource."""

        def show(request: Request) -> Response:
            facts = resource.facts(self._asked(request))
            return HTMLResponse(page(resource.template, **facts, **_around(self.home, request, resource, facts)))

        return show

    def answer(self, resource: Resource) -> Any:
        """Return the handler that answers a resource as JSON."""

        def answer(request: Request) -> Response:
            return JSONResponse(as_json(resource.facts(self._asked(request))))

        return answer

    async def events(self, request: Request) -> Response:
        """Stream changes of the list of runs."""
        assert self.broadcast is not None
        if self.broadcast.full:
            return PlainTextResponse("too many viewers", status_code=503, headers={"Retry-After": "10"})
        mark = request.headers.get("last-event-id") or request.query_params.get("since", "")
        return self.broadcast.answer(mark)

    async def asset(self, request: Request) -> Response:
        """Answer with a file that pages name; its address changes with its content."""
        name = request.path_params["name"]
        if name not in TYPES:
            raise UsageError("there is no such file", where=name[:100], hint="look at /", code=NOT_FOUND)
        headers = {"Cache-Control": "private, max-age=31536000, immutable"}
        return Response(assets()[name], media_type=TYPES[name], headers=headers)

    def run_file(self, request: Request) -> Response:
        """Answer with a file of a run."""
        folder = run_folder(self.home, request.path_params["run"])
        return _file(file_below(folder, request.path_params["path"]))

    def flow_file(self, request: Request) -> Response:
        """Answer with a file of a flow."""
        folder = flow_folder(self.home, request.path_params["flow"])
        return _file(file_below(folder, request.path_params["path"]))

    def account_file(self, request: Request) -> Response:
        """Answer with a file of an account."""
        folder = account_folder_of(self.home, request.path_params["account"])
        return _file(file_below(folder, request.path_params["path"]))


def _file(path: Path) -> Response:
    ending = path.suffix.lower()
    kind = TEXT_TYPES.get(ending) or ("text/plain" if ending in TEXTS else "application/octet-stream")
    headers = {"Content-Security-Policy": file_policy()}
    saved_as = path.name if kind == "application/octet-stream" else None
    return FileResponse(path, media_type=kind, filename=saved_as, headers=headers)


def _around(home: Home, request: Request, resource: Resource, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page needs besides its facts."""
    path = request.url.path
    query = request.url.query
    around: dict[str, Any] = {
        "section": SECTIONS.get(path.split("/")[1] or "runs", ""),
        "api": f"/api{'/runs' if path == '/' else path}" + (f"?{query}" if query else ""),
        "query": request.query_params,
    }
    if resource.template == "runs.html":
        around |= _sorting(request.query_params)
    elif resource.template == "run.html":
        around["figures"] = runs.first_figures(run_folder(home, facts["run"]["run_id"]))
    elif resource.template == "account.html":
        around["figures"] = nav_figures(facts)
    elif resource.template == "flow.html":
        around["blocks"] = runs.joint_report(home, [run["run_id"] for run in facts["runs"]])
    elif resource.template == "lake.html":
        around["figures"] = lakes.coverage_figures(facts["coverage"])
    elif resource.template == "coin.html":
        around["figures"] = lakes.coin_figures(dict(facts))
    return around


def _sorting(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the present order, and the link under each column's name that changes it."""
    sort = query.get("sort") or "started"
    order = "desc" if query.get("order", "desc" if sort == "started" else "asc") == "desc" else "asc"

    def link(key: str) -> str:
        turned = {"asc": "desc", "desc": "asc"}[order] if key == sort else ("desc" if key == "started" else "asc")
        kept = {name: query[name] for name in ("q", "state", "kind") if query.get(name)}
        return "/?" + urlencode(kept | {"sort": key, "order": turned})

    return {"sort": sort, "order": order, "sort_link": link}


# --- errors -----------------------------------------------------------------------------------------------------------


def refused(request: Request, refusal: RefusalError) -> Response:
    """Answer a request that is not let in."""
    return _error(request, refusal, refusal.status, refusal.headers)


async def failed(request: Request, error: Exception) -> Response:
    """Answer with a page, or JSON below ``/api``, that says what is wrong and what to do."""
    if isinstance(error, AssayError):
        return _error(request, error, status_of(error))
    if isinstance(error, HTTPException):
        known = UsageError("there is no such page", where=request.url.path[:200], hint="start at /", code=NOT_FOUND)
        return _error(request, known, error.status_code, dict(error.headers or {}))
    if isinstance(error, FileNotFoundError):
        gone = UsageError("it was removed while it was read", hint="look at the list of runs again", code=NOT_FOUND)
        return _error(request, gone, 404)
    if isinstance(error, OSError):
        unread = DiskError(f"cannot read: {error.strerror or error}", hint="check the disk and its permissions")
        return _error(request, unread, 500)
    fault = InternalError("a fault of the page", hint="report it with what assay serve printed")
    return _error(request, fault, 500)


def _error(request: Request, error: AssayError, status: int, headers: Mapping[str, str] | None = None) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": error.as_dict()}, status_code=status, headers=headers)
    shown = {"what": error.what, "where": error.where, "hint": error.hint, "code": error.code, "status": status}
    return HTMLResponse(page("error.html", section="", api="", **shown), status_code=status, headers=headers)

"""The application: its endpoints, and which error has which status."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import segdino_deploy
from segdino_deploy.errors import InputError, SegdinoDeployError
from segdino_deploy.serve import routes, segment_route
from segdino_deploy.serve.door import Door, refuse
from segdino_deploy.serve.refusals import ClientGone, Overloaded, TooLarge, TooSlow
from segdino_deploy.serve.service import Service

CLIENT_GONE = 499  # no standard's, but nginx's: it is seen in the metrics alone
STATUS = ((TooLarge, 413), (TooSlow, 408), (InputError, 400), (Overloaded, 503), (ClientGone, CLIENT_GONE))


def create_app(service: Service) -> FastAPI:
    """Every answer that is no success is JSON with `error`, as in v2. The schema is at `/openapi.json`."""
    app = FastAPI(
        title="segdino-deploy",
        version=segdino_deploy.__version__,
        docs_url=None,  # a page that loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(routes.create_router(service))
    app.include_router(segment_route.create_router(service))
    app.add_middleware(Door, token=service.options.token, metrics=service.metrics)

    @app.exception_handler(SegdinoDeployError)
    async def _ours(_: Request, error: SegdinoDeployError) -> Response:
        return refuse(next((status for kind, status in STATUS if isinstance(error, kind)), 500), str(error))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        answer = refuse(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refuse(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @app.exception_handler(Exception)
    async def _unforeseen(_: Request, error: Exception) -> Response:
        return refuse(500, f"unexpected {type(error).__name__}; the server's log has it")

    return app

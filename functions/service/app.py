"""What belongs to the service as a whole: its documentation, its OpenAPI document, its health."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vms import database
from vms.api import Api, Event, LambdaContext, Response, Who
from vms.errors import Unavailable

api = Api()

# Relative URLs throughout: the page finds its document, and the document its server, under any stage, base path or domain.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Video management server</title><link rel="icon" href="data:,"><style>{css}</style></head>
<body><div id="swagger-ui"></div><script>{js}</script><script>
const here = new URL(window.location.href);
const openapi = here.pathname.replace(/\\/docs\\/*$/, "/openapi.json");
SwaggerUIBundle({{
  url: openapi, dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
}});
</script></body></html>
"""


@cache
def _page() -> str:
    """The page, with Swagger UI (Powertools' package carries it) inside of it."""
    assets = files("aws_lambda_powertools.event_handler.openapi.swagger_ui")
    js = (assets / "swagger-ui-bundle.min.js").read_text("utf-8").replace("</script", "<\\/script")
    return _PAGE.format(css=(assets / "swagger-ui.min.css").read_text("utf-8"), js=js)


@cache
def _document() -> str:
    return Path(__file__).with_name("openapi.json").read_text("utf-8")


@api.route("GET", "/", who=Who.ANONYMOUS, summary="Go to the documentation", tag="service", status=302)
def root() -> Response[str]:
    """Redirect to the documentation."""
    return Response(302, headers={"Location": f"{api.base_url}/docs"}, body="")


@api.route("GET", "/docs", who=Who.ANONYMOUS, summary="Read the documentation (Swagger UI)", tag="service")
def docs() -> Response[str]:
    """Swagger UI, which needs no other host."""
    return Response(
        200, content_type="text/html; charset=utf-8", headers={"Cache-Control": "max-age=3600"}, body=_page()
    )


@api.route("GET", "/openapi.json", who=Who.ANONYMOUS, summary="Get the OpenAPI document", tag="service")
def openapi() -> Response[str]:
    """One document for all functions together."""
    return Response(200, content_type="application/json", body=_document())


@api.route(
    "GET",
    "/health",
    who=Who.ANONYMOUS,
    summary="Is the service up, its database included",
    tag="service",
    errors=(Unavailable,),
)
def health() -> dict[str, str]:
    """Ask the database for an answer."""
    if not database.reachable():
        raise Unavailable
    return {"status": "ok"}


def lambda_handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Answer an API Gateway event."""
    return api.handle(event, context)

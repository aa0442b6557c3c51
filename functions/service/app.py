"""What belongs to the service as a whole: its documentation, its OpenAPI document, its health."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from vms import database
from vms.api import Api, Response, Who
from vms.errors import Unavailable

api = Api()

# Relative URLs throughout: the page finds its document, and the document its server, under any stage, base path or
# domain.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Video management server</title><link rel="icon" href="data:,">
<style>{css}</style></head>
<body><div id="swagger-ui"></div><script>{js}</script><script>
const here = new URL(window.location.href);
const openapi = here.pathname.replace(/\\/docs\\/*$/, "/openapi.json");
// Not to try out: their answers are this page itself, the document that it shows, or a film.
const shownElsewhere = ["get /", "get /docs", "get /openapi.json", "get /v1/videos/stream/{{video_id}}"];
const isTriedOut = () => (state, path, method) => !shownElsewhere.includes(`${{method}} ${{path}}`);
SwaggerUIBundle({{
  url: openapi, dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
  plugins: [{{ statePlugins: {{ spec: {{ wrapSelectors: {{ allowTryItOutFor: isTriedOut }} }} }} }}],
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


@api.get("/", who=Who.ANONYMOUS, summary="Go to the documentation", status=302)
def go_to_docs() -> Response[str]:
    return Response(302, headers={"Location": f"{api.base_url}/docs"}, body="")


@api.get("/docs", who=Who.ANONYMOUS, summary="Read the documentation (Swagger UI)", media=("text/html",))
def read_docs() -> Response[str]:
    return Response(
        200, content_type="text/html; charset=utf-8", headers={"Cache-Control": "max-age=3600"}, body=_page()
    )


@api.get("/openapi.json", who=Who.ANONYMOUS, summary="Get the OpenAPI document", media=("application/json",))
def get_document() -> Response[str]:
    return Response(200, content_type="application/json", body=_document())


@api.get("/health", who=Who.ANONYMOUS, summary="Is the service up, its database included", errors=(Unavailable,))
def get_health() -> dict[str, str]:
    if not database.reachable():
        raise Unavailable
    return {"status": "ok"}


lambda_handler = api.handle

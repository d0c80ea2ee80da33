"""`redlane console`: the inspectors' pages."""

from typing import Annotated

import typer

from streams.cli.exits import exit_on
from streams.settings import Settings


def console(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65_535)] = 6070,
    demo_user: Annotated[
        str | None,
        typer.Option(
            help="NAME or NAME:ROLE (viewer, inspector, supervisor): everybody is that user. On "
            "this machine only."
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="sqlite:///FILE or postgresql://…, in place of REDLANE_CONSOLE_DATABASE_URL."
        ),
    ] = None,
) -> None:
    """Serve the inspectors' pages: alerts, explanations → decisions on inspection-outcomes.

    An OIDC proxy names the user in headers, which are trusted only with
    REDLANE_CONSOLE_PROXY_SECRET or from REDLANE_CONSOLE_PROXY_ADDRESSES. /livez and /readyz are
    on the same port. Needs the extra `console`.

    **Examples**

    `redlane console --demo-user ann`

    `REDLANE_CONSOLE_HOSTS=console.example.org redlane console --host 10.0.0.5 --port 8080`
    """
    from streams import logs
    from streams.console import serve
    from streams.console.state.tables import Unusable
    from streams.console.web.identity import Misconfigured
    from streams.kafka.health import check_free
    from streams.kafka.origin import Refused
    from streams.kafka.registry import NotDeployed, RegistryFailed

    settings = Settings()
    check_free(host, port, "--host, --port")
    logs.configure(settings.log_level)
    with exit_on(Misconfigured, NotDeployed, Refused, RegistryFailed, Unusable, status=2):
        status = serve(settings, host=host, port=port, demo_user=demo_user, database_url=database)
    raise typer.Exit(status)

"""The command `redlane`. Every command reads its settings from the environment (REDLANE_…)."""

import typer

from streams.settings import Settings

app = typer.Typer(
    name="redlane",
    help="Screen customs declarations as they arrive: text, photo and attributes in one risk.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


# Each command imports what it needs itself: `redlane --help` should not wait for a model library.


@app.command()
def worker() -> None:
    """Screen declarations: declarations → assessments, alerts, dead-letters.

    Runs until SIGTERM or SIGINT, then finishes what it has taken and exits 0. Exits 1 on what only
    a restart can repair, so run it under a supervisor. Logs are JSON on standard error; /livez,
    /readyz and /metrics are on REDLANE_HEALTH_HOST:REDLANE_HEALTH_PORT (127.0.0.1:6066).

    **Examples**

    `redlane up --env-file redlane.env` in one terminal, then in another:

    `set -a; . ./redlane.env; redlane worker`

    `REDLANE_CONSUMER_GROUP=shadow REDLANE_BUNDLE=/srv/bundles/next redlane worker`
    """
    from streams import logs
    from streams.app import run

    settings = Settings()
    logs.configure(settings.log_level)
    run(settings)


@app.command()
def deploy() -> None:
    """Create the topics and register the schemas that are missing.

    Workers do neither. Run it before the first worker, and after an upgrade. What exists stays as
    it is.

    **Example**

    `REDLANE_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 REDLANE_KAFKA_REPLICATION=3 redlane deploy`
    """
    from streams.deploy import deploy as deploy_all

    deploy_all(Settings(), say=typer.echo)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

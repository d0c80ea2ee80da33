"""The command `redlane`. Every command reads its settings from the environment (REDLANE_…)."""

from pathlib import Path
from typing import Annotated

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


@app.command()
def up(
    kafka_port: Annotated[int, typer.Option(help="0 for any free one.")] = 9092,
    registry_port: Annotated[int, typer.Option(help="0 for any free one.")] = 8081,
    redis_port: Annotated[int, typer.Option(help="0 for any free one.")] = 6379,
    s3_port: Annotated[int, typer.Option(help="0 for any free one.")] = 8333,
    brokers: Annotated[int, typer.Option(help="Kafka brokers: 1 or 3.", min=1, max=3)] = 1,
    env_file: Annotated[Path | None, typer.Option(help="Write the settings here.")] = None,
) -> None:
    """Run the local stack alone: Kafka, schema registry, Valkey and SeaweedFS.

    Everything listens on 127.0.0.1 only, comes by pip, and is gone with Ctrl-C. Topics and schemas
    are deployed. The settings to use it are printed.

    **Examples**

    `redlane up --env-file redlane.env`

    `redlane up --kafka-port 0 --registry-port 0 --redis-port 0 --s3-port 0`
    """
    from streams.deploy import deploy as deploy_all
    from streams.local.preflight import NotReady
    from streams.local.stack import Ports, run_until_interrupted

    try:
        run_until_interrupted(
            brokers=brokers,
            ports=Ports(kafka=kafka_port, registry=registry_port, redis=redis_port, s3=s3_port),
            env_file=env_file,
            after_start=lambda stack: deploy_all(stack.settings(), say=typer.echo),
            say=typer.echo,
        )
    except NotReady as problem:
        typer.echo(problem, err=True)
        raise typer.Exit(2) from problem


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()

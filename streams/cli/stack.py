"""`redlane up`, `deploy` and `doctor`: the services that Redlane runs on."""

from pathlib import Path
from typing import Annotated, Final

import typer

from streams.cli.exits import exit_on, requires
from streams.progress import Bar
from streams.settings import Settings

HIGHEST_PORT: Final = 65_535
Port = Annotated[int, typer.Option(help="0 for any free one.", min=0, max=HIGHEST_PORT)]


def up(
    kafka_port: Port = 9092,
    registry_port: Port = 8081,
    redis_port: Port = 6379,
    s3_port: Port = 8333,
    brokers: Annotated[int, typer.Option(help="Kafka brokers: 1 or 3.")] = 1,
    env_file: Annotated[Path | None, typer.Option(help="Write the settings here.")] = None,
) -> None:
    """Run the local stack alone: Kafka, schema registry, Valkey and SeaweedFS.

    Everything listens on 127.0.0.1 only, comes from pip packages, and ends with Ctrl-C. The command
    deploys topics and schemas, builds the packaged model bundle unless REDLANE_BUNDLE names
    another, and prints the settings to use the stack.

    **Examples**

    `redlane up --env-file redlane.env`

    `redlane up --kafka-port 0 --registry-port 0 --redis-port 0 --s3-port 0`
    """
    if brokers not in {1, 3}:
        # With two, the loss of either would stop the cluster: no better than one.
        typer.echo("--brokers must be 1 or 3.", err=True)
        raise typer.Exit(2)
    if env_file is not None and not env_file.absolute().parent.is_dir():
        typer.echo(f"--env-file: there is no folder {env_file.parent}.", err=True)
        raise typer.Exit(2)
    with requires("local"):
        from streams.local.preflight import NotReady
        from streams.local.process import ServiceFailed
        from streams.local.stack import Ports, run_until_interrupted
    from streams.operations.deploy import deploy as deploy_all

    bundle = Settings().bundle
    if bundle is None:
        with requires("build"):
            from models.training.bundle_builder import default_bundle

        with Bar() as bar:
            bundle = default_bundle(bar)
    with exit_on(NotReady, status=2), exit_on(ServiceFailed):
        run_until_interrupted(
            brokers=brokers,
            ports=Ports(kafka=kafka_port, registry=registry_port, redis=redis_port, s3=s3_port),
            env_file=env_file,
            bundle=bundle,
            after_start=lambda stack: deploy_all(stack.settings(), say=typer.echo),
            say=typer.echo,
        )


def deploy(
    acls: Annotated[
        bool, typer.Option("--acls", help="Also give every component's user its rights in Kafka.")
    ] = False,
    print_acls: Annotated[
        bool,
        typer.Option("--print-acls", help="Only print the rights in Kafka, Redis and S3, as JSON."),
    ] = False,
    user_prefix: Annotated[
        str, typer.Option(help="Of the users' names: PREFIXscreen, PREFIXcustoms-it, …")
    ] = "redlane-",
) -> None:
    """Create the topics and register the schemas that are missing.

    Workers do neither. Run it before the first worker, and after an upgrade. It changes nothing
    that already exists. --acls needs a user who may alter the cluster; see SECURITY.md.

    **Examples**

    `REDLANE_KAFKA_BOOTSTRAP_SERVERS=kafka:9092 REDLANE_KAFKA_REPLICATION=3 redlane deploy`

    `REDLANE_KAFKA_USERNAME=admin redlane deploy --acls`

    `redlane deploy --print-acls`
    """
    from streams.kafka.origin import NoAnswer
    from streams.kafka.registry import NotDeployed, RegistryFailed
    from streams.operations.access import as_json, grant
    from streams.operations.deploy import deploy as deploy_all

    settings = Settings()
    if print_acls:
        typer.echo(as_json(settings, user_prefix))
        return
    with exit_on(NotDeployed, RegistryFailed, NoAnswer):
        deploy_all(settings, say=typer.echo)
        if acls:
            grant(settings, user_prefix, say=typer.echo)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check Kafka, registry, object storage, Redis and the model bundle, and say what to do.

    Where REDLANE_DELIVER_URL is set, also whether the receiver can be reached; nothing is posted.
    Exits with 0 if all is well, with 1 if a part is not, and with 2 on a wrong setting. It writes
    nothing and needs no home folder, so it runs in a worker's container as it is.

    **Examples**

    `. ./redlane.env; redlane doctor`

    `kubectl exec deploy/redlane-screen -- redlane doctor --json`
    """
    import json
    from dataclasses import asdict

    from streams.operations.doctor import examine

    findings = examine(Settings())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    for finding in () if as_json else findings:
        mark = "ok  " if finding.problem is None else "FAIL"
        typer.echo(f"{mark}  {finding.part}: {finding.problem or finding.detail}")
        if finding.problem is not None:
            typer.echo(f"      → {finding.remedy}")
    if any(finding.problem for finding in findings):
        raise typer.Exit(1)

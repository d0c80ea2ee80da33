"""alerts, assessments, explanations → the inspectors' pages → inspection-outcomes."""

from collections.abc import Sequence

from streams.settings import Settings


def serve(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 6070,
    demo_user: str | None = None,
    database_url: str | None = None,
    hosts: Sequence[str] = (),
) -> int:
    """Serve the console until SIGTERM or SIGINT; returns the exit status.

    Args:
        settings: of the services, and those named console_….
        host: address to listen on.
        port: port to listen on.
        demo_user: "name" or "name:role": everybody is that user. On the loopback address only.
        database_url: of the console's state; None for that of the settings.
        hosts: host names that browsers may ask for, besides those of the settings.

    Raises:
        Misconfigured: the console would trust nobody, or everybody.
        NotDeployed: the registry lacks a schema.
        Refused: Kafka refuses this user, or a right is missing.
        RegistryFailed: the registry does not answer.
        Unusable: the database does not answer, or belongs to another version of the console.
    """
    from streams.console.server import run  # noqa: PLC0415 - FastAPI is in the extra `console`

    return run(
        settings,
        host=host,
        port=port,
        demo_user=demo_user,
        database_url=database_url,
        hosts=tuple(hosts),
    )

"""Refuses to serve others with secrets that everybody knows."""

import functools
import ipaddress
from urllib.parse import urlsplit

from pydantic import SecretStr

from stemma.errors import StemmaError
from stemma.settings import Settings


class Exposed(StemmaError):
    """The local issuer would be reachable from other machines."""

    code, exit_code = "exposed", 78

    def __init__(self, host: str) -> None:
        super().__init__(
            f"the local login has passwords that everybody knows, so it must not listen on {host!r}: "
            "set STEMMA_HOST to 127.0.0.1, ::1 or localhost, or KEYCLOAK_SERVER_URL to a Keycloak",
        )
        self.host = host


class ExampleSecrets(StemmaError):
    """Others are to reach a service whose secrets are those of the example."""

    code, exit_code = "example-secrets", 78

    def __init__(self, names: tuple[str, ...], where: str) -> None:
        super().__init__(
            f"{', '.join(names)}: still as in .env.example, which everybody knows, while {where}; "
            "choose values of your own",
        )
        self.names, self.where = names, where


def check_exposure(settings: Settings) -> None:
    """Return when nobody can reach the service with secrets that everybody knows.

    Raises:
        Exposed: the local issuer would listen on an address that is not this machine's alone.
        ExampleSecrets: others can reach the service, and a secret is the example's.
    """
    if settings.keycloak_server_url is None and not is_loopback(settings.host):
        raise Exposed(settings.host)
    check_secrets(settings)


def check_secrets(settings: Settings) -> None:
    """Return when no secret is the example's, or only this machine can reach the service.

    Raises:
        ExampleSecrets: otherwise.
    """
    is_public = not is_loopback(urlsplit(settings.public_url).hostname or "")
    if not is_public and is_loopback(settings.publish_address):
        return
    names = tuple(name for name, known in _example_secrets().items() if _secret(settings, name) == known)
    if names:
        fields = type(settings).model_fields
        shown = tuple(str(fields[name].validation_alias or f"STEMMA_{name.upper()}") for name in names)
        where = f"STEMMA_PUBLIC_URL is {settings.public_url}"
        raise ExampleSecrets(shown, where if is_public else f"STEMMA_PUBLISH_ADDRESS is {settings.publish_address}")


@functools.lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address without port and brackets, is this machine and no other."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _secret(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    return value.get_secret_value() if isinstance(value, SecretStr) else None


def _example_secrets() -> dict[str, str]:
    """The fields that are secret, with the values that everybody can read."""
    fields = Settings.model_fields.items()
    return {
        name: str(field.examples[0])
        for name, field in fields
        if field.annotation == SecretStr | None and field.examples and field.examples[0]
    }

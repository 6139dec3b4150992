"""The settings of the command line: those of the installation, and where to find a service and who asks it."""

from functools import cache

from pydantic import Field, SecretStr

from stemma.errors import StemmaError
from stemma.settings import Settings


class SettingsUnfit(StemmaError):
    """A setting has a value that it cannot have."""

    code, exit_code = "settings-unfit", 78


class CommandLineSettings(Settings):
    """How the commands that ask a service do it."""

    url: str | None = Field(default=None, examples=["http://localhost:8000"])
    """The service that the command line asks. Unset: the one of ``stemma login``, else the one that ``stemma serve``
    runs on this data folder, else none: the work is done here."""

    username: str | None = None
    """Who asks. Unset: whoever logged in; ``user_1`` where no service is configured."""

    password: SecretStr | None = None
    """The password of ``STEMMA_USERNAME``, for scripts; people use ``stemma login``."""

    client_id: str | None = None
    """What a program is called where its tokens are given, ``service`` in the shipped realm. With
    ``STEMMA_CLIENT_SECRET`` it asks as itself, and not as a person."""

    client_secret: SecretStr | None = None
    """Its secret. There is no other way to give it to the command line."""

    trusted_origin: str | None = None
    """An address, such as ``http://keycloak.lab:8080``, where tokens may be got although it is neither https nor that
    of the service."""

    @property
    def trusted_origins(self) -> list[str]:
        """That one, if there is one."""
        return [self.trusted_origin] if self.trusted_origin else []


@cache
def settings() -> CommandLineSettings:
    """The settings of this process, made once.

    Raises:
        SettingsUnfit: one is not what it must be.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - needed together with the class above

    try:
        return CommandLineSettings()
    except ValidationError as error:
        raise SettingsUnfit("; ".join(_said(one["loc"], one["msg"]) for one in error.errors())) from error


def _said(place: tuple[int | str, ...], message: str) -> str:
    """What is wrong with a setting; with several together, of which none is the place, the message says it all."""
    return f"{_variable(str(place[0]))}: {message}" if place else message


def _variable(place: str) -> str:
    """What a setting is called in the environment; one with a name of its own is found under that."""
    return place if place.isupper() else f"STEMMA_{place.upper()}"

"""The compose file knows every setting, so that what .env sets reaches the containers."""

import re

from stemma.settings import Settings
from support.compose import ROOT

INSIDE = {"STEMMA_HOME", "STEMMA_HOST", "STEMMA_PORT", "STEMMA_TOKEN_LIFETIME_SECONDS"}
"""What the image or the compose file decides, and what only the local issuer uses."""
FOR_OTHERS = {"KEYCLOAK_ADMIN_USERNAME"}
"""What Keycloak gets under a name of its own."""


def test_compose_file_when_compared_with_the_settings_then_hands_on_each() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    handed_on = set(re.findall(r"^ +([A-Z_]+):", text, re.MULTILINE))

    wanted = {str(field.validation_alias or f"STEMMA_{name.upper()}") for name, field in Settings.model_fields.items()}

    assert wanted - INSIDE - FOR_OTHERS <= handed_on
    assert INSIDE & handed_on == {"STEMMA_HOST"}


def test_compose_file_when_read_then_has_every_variable_in_the_example() -> None:
    text = "".join((ROOT / name).read_text() for name in ("docker-compose.yml", "docker-compose.containers.yml"))
    example = (ROOT / ".env.example").read_text()
    own = {"STEMMA_IMAGE", "STEMMA_CONTAINERS_IMAGE"}  # what the images are called, for those who push them

    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))

    assert used - own <= set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))

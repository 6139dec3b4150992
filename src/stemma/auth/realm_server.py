"""Keycloak's administration, by python-keycloak, with our errors. Loaded by ``stemma realm`` alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

from keycloak import KeycloakAdmin, KeycloakOpenID
from keycloak.exceptions import KeycloakAuthenticationError, KeycloakConnectionError, KeycloakError, KeycloakGetError

from stemma.errors import StemmaError, Unavailable
from stemma.settings import Settings

_TIMEOUT_SECONDS: Final = 30
_COUNT_LOOKS, _COUNT_PAUSE_SECONDS = 20, 0.1
"""How often to look whether Keycloak has counted a failed try, and how long between two looks."""
_MASTER: Final = "master"
_PAGE: Final = 100
_LONGEST_REASON: Final = 300


class KeycloakUnreachable(Unavailable):
    """Keycloak does not answer its administrator."""

    code: ClassVar[str] = "keycloak-unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"Keycloak does not answer at {url}: {reason}; is it running, and is KEYCLOAK_SERVER_URL right?"
        )
        self.url, self.reason = url, reason


class AdministratorRefused(StemmaError):
    """Keycloak does not let the administrator of the settings do it."""

    code, exit_code = "keycloak-administrator-refused", 77

    def __init__(self, username: str, reason: str) -> None:
        super().__init__(f"Keycloak refuses {username!r}: {reason}")
        self.username, self.reason = username, reason


class RealmRefused(StemmaError):
    """Keycloak did not take a change, or answered something that it should not."""

    code = "keycloak-refused"

    def __init__(self, reason: str, answered: int | None) -> None:
        super().__init__(f"Keycloak did not do what it was asked for: {reason}")
        self.reason, self.answered = reason, answered


class RealmNotConfigured(StemmaError):
    """A setting that says how to administer Keycloak is missing."""

    code, exit_code = "realm-not-configured", 78

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not set; `stemma realm` needs it to ask Keycloak")
        self.name = name


class RealmServer:
    """One realm of a Keycloak server, as its administrator sees it. Everything is asked anew each time."""

    def __init__(self, settings: Settings) -> None:
        if not settings.keycloak_server_url:
            raise RealmNotConfigured("KEYCLOAK_SERVER_URL")
        if not settings.keycloak_admin_username:
            raise RealmNotConfigured("KEYCLOAK_ADMIN_USERNAME")
        if settings.keycloak_admin_password is None:
            raise RealmNotConfigured("KEYCLOAK_ADMIN_PASSWORD")
        self._url = settings.keycloak_server_url.rstrip("/") + "/"
        self._username = settings.keycloak_admin_username
        self.realm = settings.keycloak_realm
        with self._asked(is_login=True):
            self._admin = KeycloakAdmin(
                server_url=self._url,
                username=self._username,
                password=settings.keycloak_admin_password.get_secret_value(),
                realm_name=self.realm,
                user_realm_name=_MASTER,
                timeout=_TIMEOUT_SECONDS,
            )
            self._admin.connection.get_token()

    def find_realm(self) -> dict[str, Any] | None:
        """The realm; None where there is none of its name."""
        with self._asked():
            try:
                return self._admin.get_realm(self.realm)
            except KeycloakGetError as error:
                if error.response_code == HTTPStatus.NOT_FOUND:
                    return None
                raise

    def create_realm(self, fields: Mapping[str, Any]) -> None:
        """Make the realm."""
        with self._asked():
            self._admin.create_realm({"realm": self.realm, **fields})
            self._admin.connection.get_token()  # the one of before does not yet administer the new realm

    def change_realm(self, fields: Mapping[str, Any]) -> None:
        """Set ``fields`` of the realm, and leave the others."""
        with self._asked():
            self._admin.update_realm(self.realm, dict(fields))

    def role_names(self) -> frozenset[str]:
        """The roles of the realm."""
        with self._asked():
            return frozenset(str(role["name"]) for role in self._admin.get_realm_roles())

    def create_role(self, name: str, description: str) -> None:
        """Make a role of the realm."""
        with self._asked():
            self._admin.create_realm_role({"name": name, "description": description})

    def find_client(self, name: str) -> dict[str, Any] | None:
        """The client that calls itself ``name``; None where there is none."""
        with self._asked():
            found = self._admin.get_client_id(name)
            return None if found is None else self._admin.get_client(found)

    def create_client(self, client: Mapping[str, Any]) -> str:
        """Make a client; its id."""
        with self._asked():
            return self._admin.create_client(dict(client))

    def change_client(
        self, client_id: str, fields: Mapping[str, Any], attributes: Mapping[str, str] | None = None
    ) -> None:
        """Set ``fields`` and ``attributes`` of a client, and leave the others."""
        with self._asked():
            whole = self._admin.get_client(client_id)
            whole |= fields
            whole["attributes"] = {**whole.get("attributes", {}), **(attributes or {})}
            self._admin.update_client(client_id, whole)

    def renew_secret(self, client_id: str) -> None:
        """Let Keycloak choose a new secret for a client."""
        with self._asked():
            self._admin.generate_client_secrets(client_id)

    def add_mapper(self, client_id: str, mapper: Mapping[str, Any]) -> None:
        """Give a client a mapper."""
        with self._asked():
            self._admin.add_mapper_to_client(client_id, dict(mapper))

    def remove_mapper(self, client_id: str, mapper_id: str) -> None:
        """Take a mapper from a client."""
        with self._asked():
            self._admin.remove_client_mapper(client_id, mapper_id)

    def scopes(self) -> dict[str, dict[str, Any]]:
        """The client scopes of the realm, with their mappers, by name."""
        with self._asked():
            return {str(scope["name"]): scope for scope in self._admin.get_client_scopes()}

    def add_scope(self, client_id: str, scope_id: str) -> None:
        """Give a client a scope that is in all its tokens."""
        with self._asked():
            self._admin.add_client_default_client_scope(client_id, scope_id, {})

    def remove_scope(self, client_id: str, scope_id: str, *, is_optional: bool) -> None:
        """Take a scope from a client."""
        with self._asked():
            if is_optional:
                self._admin.delete_client_optional_client_scope(client_id, scope_id)
            else:
                self._admin.delete_client_default_client_scope(client_id, scope_id)

    def roles_in_tokens(self, client_id: str) -> frozenset[str]:
        """The roles that a client without full scope writes into its tokens."""
        with self._asked():
            return frozenset(str(role["name"]) for role in self._admin.get_realm_roles_of_client_scope(client_id))

    def add_roles_to_tokens(self, client_id: str, names: Sequence[str]) -> None:
        """Let a client write roles into its tokens."""
        with self._asked():
            roles = [self._admin.get_realm_role(name) for name in names]
            self._admin.assign_realm_roles_to_client_scope(client_id, roles)

    def service_account(self, client_id: str) -> dict[str, Any]:
        """The account that a client with a service account logs in as."""
        with self._asked():
            return self._admin.get_client_service_account_user(client_id)

    def give_role(self, user_id: str, name: str) -> None:
        """Give somebody a role."""
        with self._asked():
            self._admin.assign_realm_roles(user_id, [self._admin.get_realm_role(name)])

    def example_token(self, client_id: str, user_id: str) -> dict[str, Any]:
        """The claims of an access token that the client would get for somebody."""
        path = f"admin/realms/{self.realm}/clients/{client_id}/evaluate-scopes/generate-example-access-token"
        with self._asked():
            answer = self._admin.connection.raw_get(path, scope="openid", userId=user_id)
            if answer.status_code != HTTPStatus.OK:
                raise RealmRefused("it shows no example of a token", answer.status_code)
            return cast("dict[str, Any]", answer.json())

    def groups(self) -> Iterator[dict[str, Any]]:
        """The groups that lie in no other, each with how many lie in it."""
        first = 0
        while True:
            with self._asked():
                page = self._admin.get_groups({"first": first, "max": _PAGE})
            yield from page
            if len(page) < _PAGE:
                return
            first += _PAGE

    def find_user(self, username: str) -> dict[str, Any] | None:
        """The account of that name; None where there is none."""
        with self._asked():
            found = self._admin.get_users({"username": username, "exact": "true"})
            return found[0] if found else None

    def disable_user(self, user_id: str) -> None:
        """Let somebody log in no more; nothing else about them changes."""
        with self._asked():
            whole = self._admin.get_user(user_id)
            self._admin.update_user(user_id, {**whole, "enabled": False})

    def has_password(self, user: Mapping[str, Any], password: str, client: str) -> bool | None:
        """Whether ``password`` is that of ``user``, found out by trying; None where it cannot be.

        A try that fails is not left as a mark on the account, unless there are others.
        """
        with self._asked():
            before = self._admin.get_bruteforce_detection_status(user["id"])
            if before.get("disabled"):  # nothing is right while the account is locked
                return None
            login = KeycloakOpenID(self._url, self.realm, client, timeout=_TIMEOUT_SECONDS)
            try:
                token = login.token(user["username"], password)
            except KeycloakConnectionError:
                raise
            except KeycloakError as error:
                said = str(error)
                if "not fully set up" in said:  # said of who gave the right one
                    return True
                if "invalid_grant" not in said:
                    return None
                if not before.get("numFailures"):
                    self._forget_failure(user["id"])
                return False
            login.logout(token["refresh_token"])
            return True

    def _forget_failure(self, user_id: str) -> None:
        """Take the mark of a failed try off an account. Keycloak counts a moment after it has answered."""
        for _ in range(_COUNT_LOOKS):
            if self._admin.get_bruteforce_detection_status(user_id).get("numFailures"):
                break
            time.sleep(_COUNT_PAUSE_SECONDS)
        self._admin.clear_bruteforce_attempts_for_user(user_id)

    @contextmanager
    def _asked(self, *, is_login: bool = False) -> Iterator[None]:
        """Turn what goes wrong at Keycloak into errors of ours."""
        try:
            yield
        except KeycloakConnectionError as error:
            raise KeycloakUnreachable(self._url, _reason(error)) from error
        except KeycloakAuthenticationError as error:
            if error.response_code == HTTPStatus.FORBIDDEN:
                raise AdministratorRefused(self._username, "this account may not administer the realm") from error
            told = "KEYCLOAK_ADMIN_USERNAME and KEYCLOAK_ADMIN_PASSWORD are not those of an administrator"
            raise AdministratorRefused(self._username, told) from error
        except KeycloakError as error:
            if error.response_code == HTTPStatus.FORBIDDEN:
                raise AdministratorRefused(self._username, "this account may not administer the realm") from error
            answered = error.response_code
            if is_login or answered is None or answered >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise KeycloakUnreachable(self._url, _reason(error)) from error
            raise RealmRefused(_reason(error), answered) from error
        except (TypeError, ValueError) as error:  # python-keycloak's word for answers that are not Keycloak's
            if is_login:
                raise KeycloakUnreachable(self._url, "what answers there is no Keycloak") from error
            raise


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"

"""Buckets, opened with what their remote says and nothing else."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from obstore.store import AzureStore, GCSStore, S3Store

from stemma import __version__
from stemma.errors import SourceUnusable
from stemma.storages.addresses import Target
from stemma.storages.gate import Gate, Pass
from stemma.storages.outgoing import Outgoing
from stemma.storages.protocol import RemoteSettings

_NEVER: Final = "3650days"
_RETRIES: Final[Any] = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
}
_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket or container that can be asked."""

    scheme: str
    name: str
    prefix: str
    store: S3Store | GCSStore | AzureStore
    way: Pass
    public_url: str | None
    """Of the bucket, where no credential is shown."""
    can_sign: bool
    etag_is_md5: bool = False

    def close(self) -> None:
        """Its connections are not let through any more."""
        self.way.end()


def open_bucket(remote: RemoteSettings, outgoing: Outgoing, gate: Gate) -> Bucket:
    """The bucket of ``remote``.

    Raises:
        AddressRefused: its endpoint must not be asked.
    """
    return {"s3": _s3, "gs": _gs, "az": _az}[remote.kind](remote, outgoing, gate)


def _s3(remote: RemoteSettings, outgoing: Outgoing, gate: Gate) -> Bucket:
    settings, secrets = remote.settings, remote.secrets
    name, region = settings["bucket"], settings.get("region", _REGION)
    endpoint = settings.get("endpoint") or f"https://s3.{region}.amazonaws.com"
    is_virtual = settings.get("addressing") == "virtual"
    if is_virtual:
        scheme, _, rest = endpoint.partition("://")
        endpoint = f"{scheme}://{name}.{rest}"
    target = _checked(endpoint, outgoing, remote)
    way = gate.way(target)
    is_anonymous = "access_key_id" not in secrets
    config = {
        "endpoint": target.url.rstrip("/"),
        "aws_endpoint_url_s3": target.url.rstrip("/"),  # in the environment, it would go before the other
        "region": region,
        "virtual_hosted_style_request": is_virtual,
        "skip_signature": is_anonymous,
        "unsigned_payload": target.scheme == "https",
        "disable_bulk_delete": True,
        "s3_express": False,
        "request_payer": False,
    }
    store = S3Store(
        name,
        config=config,  # type: ignore[arg-type]
        client_options=_client(target, outgoing, way),
        retry_config=_RETRIES,
        credential_provider=None if is_anonymous else _s3_credential(secrets),
    )
    base = target.url.rstrip("/") + ("" if is_virtual else f"/{name}")
    return Bucket(
        "s3",
        name,
        _prefix(settings),
        store,
        way,
        base if is_anonymous else None,
        can_sign=not is_anonymous,
        etag_is_md5=settings.get("etag") == "md5",
    )


def _s3_credential(secrets: Mapping[str, str]) -> Callable[[], Any]:
    credential = {
        "access_key_id": secrets["access_key_id"],
        "secret_access_key": secrets.get("secret_access_key", ""),
        "token": secrets.get("session_token"),
        "expires_at": None,
    }
    return lambda: credential


def _gs(remote: RemoteSettings, outgoing: Outgoing, gate: Gate) -> Bucket:
    settings, name = remote.settings, remote.settings["bucket"]
    target = _checked(settings.get("endpoint") or "https://storage.googleapis.com", outgoing, remote)
    own = _checked("https://oauth2.googleapis.com", outgoing, remote)
    way = gate.way(target, own)
    is_anonymous = "service_account_key" not in remote.secrets
    config: dict[str, Any] = {"base_url": target.url.rstrip("/"), "skip_signature": is_anonymous}
    if not is_anonymous:
        config["service_account_key"] = _service_account(remote.secrets["service_account_key"])
    # Accepting gzip is what makes the server send what is kept compressed as it is kept, and not as it was.
    client = {**_client(target, outgoing, way), "default_headers": {"accept-encoding": "gzip"}}
    store = GCSStore(name, config=config, client_options=client, retry_config=_RETRIES)  # type: ignore[arg-type]
    base = f"{target.url.rstrip('/')}/{name}"
    return Bucket("gs", name, _prefix(settings), store, way, base if is_anonymous else None, can_sign=not is_anonymous)


def _service_account(key: str) -> str:
    """The key without what could lead it elsewhere."""
    read = json.loads(key)
    wanted = ("type", "private_key", "private_key_id", "client_email")
    return json.dumps({name: read[name] for name in wanted if name in read})


def _az(remote: RemoteSettings, outgoing: Outgoing, gate: Gate) -> Bucket:
    settings, secrets = remote.settings, remote.secrets
    name, account = settings["container"], settings.get("account", "")
    if not account:
        raise SourceUnusable(f"az://{name}", "its account is not known: register a remote that says it")
    target = _checked(settings.get("endpoint") or f"https://{account}.blob.core.windows.net", outgoing, remote)
    way = gate.way(target)
    provider: Callable[[], Any] | None = None
    if "account_key" in secrets:
        key = {"access_key": secrets["account_key"], "expires_at": None}
        provider = lambda: key  # noqa: E731 - one of two
    elif "sas_token" in secrets:
        token = {"sas_token": secrets["sas_token"].removeprefix("?"), "expires_at": None}
        provider = lambda: token  # noqa: E731 - see above
    config = {
        "account_name": account,
        "endpoint": target.url.rstrip("/"),
        "skip_signature": provider is None,
        "use_emulator": False,
        "use_fabric_endpoint": False,
        "use_azure_cli": False,
    }
    store = AzureStore(
        name,
        config=config,  # type: ignore[arg-type]
        client_options=_client(target, outgoing, way),
        retry_config=_RETRIES,
        credential_provider=provider,
    )
    base = f"{target.url.rstrip('/')}/{name}"
    return Bucket(
        "az", name, _prefix(settings), store, way, None if provider else base, can_sign="account_key" in secrets
    )


def _checked(endpoint: str, outgoing: Outgoing, remote: RemoteSettings) -> Target:
    return outgoing.policy.checked(endpoint, f"the remote {remote.name!r}" if remote.name else endpoint)


def _prefix(settings: Mapping[str, str]) -> str:
    return settings.get("prefix", "").strip("/")


def _client(target: Target, outgoing: Outgoing, way: Pass) -> Any:
    """How it speaks with servers: through the gate, without end to a transfer, but not through silence."""
    silence = f"{max(1, round(outgoing.silence_seconds * 1000))}ms"
    options: dict[str, Any] = {
        "allow_http": target.scheme == "http",
        "timeout": _NEVER,
        "connect_timeout": silence,
        "read_timeout": silence,
        "proxy_url": way.url,
        "user_agent": f"stemma/{__version__}",
        "http1_only": True,
    }
    if outgoing.ca_file is not None:
        options["root_certificate"] = outgoing.ca_file.read_text()
    return options

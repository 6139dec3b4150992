"""Every setting, in one frozen class that is made once in ``main`` and passed down.

``.env.example`` is generated from it (``make docs``). The name in the environment is ``STEMMA_`` and the field's name
in capitals; those of MySQL and Keycloak keep the names that people know. The first of a field's ``examples`` is its
value in the full stack of ``docker compose up``, and of a secret one that everybody knows
(:mod:`stemma.auth.exposure` refuses those where others can reach the service).
"""

import json
import os
import re
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
GIB = 1024 * MIB
_HOSTS = r"^(\s*(\*\.)?[A-Za-z0-9_.-]+(:[0-9]{1,5})?\s*(,|$))*$"


_ENGINE = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$"
_PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".intranet", ".home.arpa", ".svc")
"""Names that no public server has, ``.svc`` for those of a Kubernetes cluster."""

_ENV_FILE = os.environ.get("STEMMA_ENV_FILE", ".env")  # noqa: TID251 - the one setting that says where settings are
"""``.env`` in the folder that a process starts in, unless another file is named; ``/dev/null`` for none. `make demo`
and `make serve` take none: they show the embedded installation, also where ``.env`` sets up the full stack."""


def _default_home() -> Path:
    return Path.home() / ".local" / "share" / "stemma"


def _known(name: str, example: str | None = None) -> Any:
    """A field that is called ``name`` in the environment, and has ``example`` in the full stack."""
    return Field(default=None, validation_alias=name, examples=None if example is None else [example])


def _is_private(host: str) -> bool:
    """Whether ``host`` is this machine, or one that only its neighbours can reach."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.lower().endswith(_PRIVATE_ENDINGS)
    return address.is_loopback or address.is_private or address.is_link_local


def _server(url: str) -> str:
    """The address of a server that gets tokens: https, or http where nobody but neighbours can read along."""
    parts = urlsplit(url.strip())
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise ValueError("it must be a URL such as https://server.example.org")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must have no user name and password; there is a setting of its own for the token")
    if parts.scheme == "http" and not _is_private(host):
        raise ValueError(
            "it must begin with https: tokens are sent there, which everybody on the way could read; plain http is for "
            "this machine and private names and addresses"
        )
    return url.strip().rstrip("/")


def _token(secret: SecretStr) -> SecretStr:
    """A secret that can stand in a header."""
    text = secret.get_secret_value().strip()
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("it has characters that no token has")
    return SecretStr(text)


def _archive(place: str) -> str:
    """A folder, or a bucket and what stands before all names in it."""
    text = place.strip().rstrip("/")
    parts = urlsplit(text)
    path = unquote(parts.path)
    is_plain = not (parts.query or parts.fragment or "@" in parts.netloc) and "\0" not in path
    steps = path.strip("/").split("/") if path.strip("/") else []
    if not is_plain or any(step in {"", ".", ".."} for step in steps):
        raise ValueError("it must be file:///folder or s3://bucket/prefix")
    if parts.scheme == "file" and not parts.netloc and steps:
        return text
    if parts.scheme == "s3" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", parts.netloc):
        return text
    raise ValueError("it must be file:///folder or s3://bucket/prefix")


_Server = Annotated[str, AfterValidator(_server)]
_Archive = Annotated[str, AfterValidator(_archive)]
_Token = Annotated[SecretStr, AfterValidator(_token)]


class Settings(BaseSettings):
    """How this installation is set up."""

    model_config = SettingsConfigDict(
        env_prefix="STEMMA_",
        env_file=_ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    home: Path = Field(default_factory=_default_home)
    """The data folder: database, store, run folders, keys. Made when it is missing."""

    database_url: str | None = None
    """SQLAlchemy URL of the database, such as ``mysql+mysqldb://user:password@host/prov_db``. Unset: the one that
    ``MYSQL_SERVER`` names, else SQLite in the data folder."""

    database_timeout_seconds: PositiveInt = 30
    """How long MySQL may be silent before a request or a worker gives up on it, and tries again later."""

    mysql_server: str | None = _known("MYSQL_SERVER", "prov-db")
    """Where MySQL is, as ``host`` or ``host:port``. Unset: SQLite in the data folder."""

    mysql_root_password: SecretStr | None = _known("MYSQL_ROOT_PASSWORD", "example-root-password")
    """What the database container makes its administrator's password. The service does not use it."""

    mysql_database: str | None = _known("MYSQL_DATABASE", "prov_db")
    """The database's name."""

    mysql_user: str | None = _known("MYSQL_USER", "user")
    """Who the service is there."""

    mysql_password: SecretStr | None = _known("MYSQL_PASSWORD", "example-password")
    """And its password."""

    keycloak_server_url: str | None = _known("KEYCLOAK_SERVER_URL", "http://prov-keycloak:8080/")
    """Where the service reaches Keycloak. Unset: the local issuer, for this machine alone."""

    keycloak_realm: str = Field(default="prov", validation_alias="KEYCLOAK_REALM", examples=["prov"])
    """The realm whose tokens are believed."""

    keycloak_authorization_url: str | None = _known(
        "KEYCLOAK_AUTHORIZATION_URL", "http://localhost:8080/realms/prov/protocol/openid-connect/auth"
    )
    """Where a browser logs in. Unset: derived from ``KEYCLOAK_SERVER_URL``."""

    keycloak_token_url: str | None = _known(
        "KEYCLOAK_TOKEN_URL", "http://localhost:8080/realms/prov/protocol/openid-connect/token"
    )
    """Where a browser and the clients get their tokens. Unset: derived from ``KEYCLOAK_SERVER_URL``."""

    keycloak_client_id: str = Field(default="api", validation_alias="KEYCLOAK_CLIENT_ID", examples=["api"])
    """The public client that people log in with; tokens must name it as their audience."""

    keycloak_client_secret: SecretStr | None = _known("KEYCLOAK_CLIENT_SECRET", "")
    """Empty: the client is a public one, and shows who it is by PKCE."""

    keycloak_admin_username: str | None = _known("KEYCLOAK_ADMIN_USERNAME", "admin")
    """Who ``stemma realm`` is at Keycloak; the container makes this administrator at its first start."""

    keycloak_admin_password: SecretStr | None = _known("KEYCLOAK_ADMIN_PASSWORD", "admin")
    """And its password. The API and the workers neither need nor get it."""

    service_client_secret: SecretStr | None = Field(default=None, examples=["example-service-secret"])
    """The secret of the client ``service``, which programs log in with. The realm takes it at its first start."""

    issuer: str | None = None
    """What tokens must say of where they come from. Unset: the realm's URL as a browser sees it, derived from
    ``KEYCLOAK_AUTHORIZATION_URL``."""

    host: str = "127.0.0.1"
    """The address that ``stemma serve`` listens on. With the local issuer it must be a loopback address."""

    port: int = Field(default=8000, ge=0, le=65535)
    """The port that ``stemma serve`` listens on; 0 takes a free one."""

    trusted_proxies: str | None = None
    """The proxies in front of ``stemma serve``, as addresses or networks with commas between, or ``*`` for whoever
    connects: what they say in ``X-Forwarded-For`` is where a request comes from. Unset: nobody is believed."""

    public_url: str = "http://localhost:8000"
    """Where people reach the service. Identifiers in provenance begin with it, so choose it once."""

    publish_address: str = "127.0.0.1"
    """Where the API and Keycloak of ``docker compose`` listen, of this machine's addresses. The database listens on
    127.0.0.1 alone."""

    containers: Literal["auto", "required", "never"] = "auto"
    """Whether tools run in containers. ``auto``: where a container engine answers; a tool that only hints at an
    image runs without one, a tool that requires one is refused. ``required``: never without. ``never``: all on
    the host, and the record says so."""

    cores: PositiveInt = Field(default_factory=lambda: os.cpu_count() or 1)
    """How many cores the steps of one run may use at a time."""

    worker_slots: PositiveInt = Field(default_factory=lambda: max(2, os.cpu_count() or 1))
    """How many runs one worker attends to at a time."""

    lease_seconds: PositiveFloat = 15.0
    """How long a worker that has fallen silent keeps its runs; it renews at a third of that."""

    takeover_seconds: PositiveFloat = 300.0
    """How long after its lease a run whose process lies in another data folder is left to the workers there."""

    max_attempts: PositiveInt = 3
    """How often a run whose own process died is attempted in all."""

    run_time_limit_seconds: PositiveFloat | None = None
    """After this long a run is ended as failed. Unset: no limit."""

    eval_timeout_seconds: PositiveFloat = 60.0
    """How long one JavaScript expression may take."""

    max_document_bytes: PositiveInt = 5 * MIB
    """The largest CWL document or inputs file that is read."""

    max_bundle_bytes: PositiveInt = 256 * MIB
    """The largest bundle, unpacked."""

    max_bundle_files: PositiveInt = 2000
    """How many files a bundle may have."""

    max_upload_bytes: PositiveInt = 20 * GIB
    """The largest file that may be uploaded as an input, put on a remote, or copied to one."""

    max_catalogue_bytes: PositiveInt = MIB
    """The largest entry of a dataset catalogue. Larger JSON is taken for the data itself."""

    allow_plain_http: bool = False
    """Whether inputs may be fetched by http too, which anybody on the way can read and change."""

    outgoing_hosts: str = Field(default="", pattern=_HOSTS)
    """The servers that inputs may be fetched from, with commas: ``data.example.org, *.example.edu, example.org:8443``.
    Unset: any public server, at its usual port."""

    allow_private_hosts: str = Field(default="", pattern=_HOSTS)
    """The servers that may have a private address or one of this machine, in the same form. All users can fetch
    whatever these give without login."""

    outgoing_proxy: SecretStr | None = None
    """The proxy that inputs are fetched through, such as ``http://user:password@proxy:3128``. It looks names up, so it
    has to refuse private addresses itself. ``HTTPS_PROXY`` and its like are not looked at."""

    outgoing_ca_file: Path | None = None
    """Certificates (PEM) to be believed when inputs are fetched, beside those of the system: of an institute's own
    authority, say."""

    fetch_timeout_seconds: PositiveFloat = 60.0
    """How long it may take until a web server's answer has begun."""

    fetch_silence_seconds: PositiveFloat = 20.0
    """How long a server may say nothing. Less than a byte a second counts as nothing."""

    fetches_at_once: PositiveInt = 8
    """How many requests to remotes one process attends to at a time, half of them for one person."""

    validation_timeout_seconds: PositiveFloat = 20.0
    """How long the check of one document may take."""

    validation_memory_bytes: PositiveInt = GIB
    """How much memory the check of one document may take."""

    draw_timeout_seconds: PositiveFloat = 30.0
    """How long the drawing of one picture may take."""

    token_lifetime_seconds: PositiveInt = 8 * 3600
    """How long a token of the local issuer is good for."""

    default_engine: str | None = Field(default=None, pattern=_ENGINE)
    """The engine of runs that name none. Unset: ``reana`` where ``REANA_SERVER_URL`` is set, else ``cwltool``."""

    remote_runs: PositiveInt = 500
    """How many runs on engines elsewhere one worker attends to, beside those in ``STEMMA_WORKER_SLOTS``."""

    store_bytes: Annotated[int | None, Field(ge=MIB)] = None
    """How much the store may hold of what was fetched from elsewhere, uploads and outputs counted; what is fetched is
    dropped again when space is short, in the order in which it will not be needed. Unset: as much as the disk bears."""

    archive: _Archive | None = None
    """Where outputs and uploads are kept for good: ``file:///folder`` or ``s3://bucket/prefix``, for this service
    alone. What lies there too may be dropped from the store when space is short. Unset: there is no archive."""

    archive_endpoint: _Server | None = None
    """The S3 server of the archive, such as ``https://s3.example.org``; plain http for private names and addresses
    alone. Unset: that of AWS in ``STEMMA_ARCHIVE_REGION``."""

    archive_region: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$")
    """Its region. Unset: ``us-east-1``."""

    archive_access_key_id: _Token | None = None
    """Who the service is there."""

    archive_secret_access_key: _Token | None = None
    """And its secret."""

    replication_streams: Annotated[int, Field(ge=1, le=64)] = 16
    """How many connections at most are open to one place elsewhere at a time; fewer are used where that is enough."""

    replication_bytes_per_second: Annotated[float | None, Field(gt=0)] = None
    """How fast files may be fetched from one place elsewhere. Unset: as fast as they come."""

    max_replica_bytes: Annotated[int, Field(ge=1)] = 16 * 1024 * GIB
    """How large a file may be that is fetched from elsewhere for a run."""

    replication_ahead_bytes: Annotated[int, Field(ge=0)] = 10 * GIB
    """How much a group may have fetched ahead at a time, for steps that others' engines tell of
    (``POST /workflow_events``) and no run needs yet; one member half of what the others leave; 0 for nothing."""

    replication_patience_seconds: PositiveFloat = 3600.0
    """How long a place elsewhere that does not answer is asked again, until the steps that need its file fail."""

    file_roots: str = ""
    """Folders of this machine that inputs and remotes may lie in (``file:///…``), with commas between:
    ``/srv/reference, /srv/shared:rw``. All users can read them, and write to those with ``:rw``. Unset: none."""

    secret_key: SecretStr | None = Field(default=None, min_length=32)
    """A long random text, at least 32 characters, that people's credentials for engines and remotes are sealed with in
    the database. Unset: one that is made in the data folder. All processes on one database need the same."""

    secret_keys_before: SecretStr | None = None
    """What ``STEMMA_SECRET_KEY`` was before, with commas between. What is sealed with these can still be opened;
    ``stemma remote reseal`` seals it with the key of today, after which they can go."""

    reana_server_url: _Server | None = _known("REANA_SERVER_URL")
    """A REANA server, such as ``https://reana.example.org``, where runs can go as well. Plain http is for this machine
    and private names and addresses alone."""

    reana_access_token: _Token | None = _known("REANA_ACCESS_TOKEN")
    """Who the service is there, for runs of people and groups that have no token of their own
    (``stemma engine login reana``)."""

    reana_ca_file: Path | None = None
    """Certificates (PEM) to be believed of that server, beside those of the system."""

    reana_default_image: str | None = None
    """The container image for tools that name none. It must have ``bash``. Unset: the one that REANA chooses."""

    reana_timeout_seconds: PositiveFloat = 60.0
    """How long the server may say nothing."""

    reana_requests_per_second: PositiveFloat = 10.0
    """How many requests one process sends there at most."""

    reana_queue_limit_seconds: PositiveFloat = 24 * 3600.0
    """After this long in its queue a run there is ended as failed."""

    reana_late_limit_seconds: Annotated[int, Field(ge=1)] = 24 * 3600
    """How long a step there waits for a file that had not arrived when its run started; then it fails."""

    reana_hints: Annotated[dict[str, str | bool | int | float], NoDecode] = Field(default={})
    """Resources of every job there, as JSON in the words of REANA: ``{"kubernetes_memory_limit": "2Gi"}``. What a
    document itself says goes before it."""

    wes_url: _Server | None = None
    """A server of the GA4GH Workflow Execution Service, such as ``https://wes.example.org/ga4gh/wes/v1``, where runs
    can go as well. Plain http as with REANA."""

    wes_token: _Token | None = None
    """Who the service is there; with ``STEMMA_WES_AUTHENTICATION=basic``, as ``user:password``."""

    wes_authentication: Literal["bearer", "basic"] = "bearer"
    """How it is shown there."""

    wes_ca_file: Path | None = None
    """Certificates (PEM) to be believed of that server, beside those of the system."""

    wes_files_root: Path | None = None
    """A folder that this service shares with that server: results that it names as local files are read there, and
    nowhere else."""

    wes_timeout_seconds: PositiveFloat = 60.0
    """How long that server may say nothing."""

    wes_workflow_engine: str | None = None
    """Which of the engines behind that server runs documents. Unset: cwltool, else Toil, as the server lists them."""

    wes_engine_parameters: dict[str, str] | None = None
    """What that engine is told with each run, as JSON: ``{"--relax-path-checks": ""}``."""

    wes_reads: str = Field(default="", pattern=r"^\s*((https|s3|gs|az)\s*(,\s*(https|s3|gs|az)\s*)*)?$")
    """What that server reads by itself where it lies, with commas between: ``https, s3, gs, az``. It is given URLs
    that open the files, instead of the files. Unset: everything is fetched here and sent there."""

    wes_url_seconds: Annotated[int, Field(ge=60, le=7 * 24 * 3600)] = 24 * 3600
    """How long such a URL is good: as long as a run may wait there for its turn."""

    @field_validator("reana_hints", "wes_engine_parameters", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"it is not JSON: {error}") from error

    @model_validator(mode="after")
    def _fits_the_archive(self) -> Self:
        """An archive in S3 wants keys; one in a folder must not be where others read or where the store is."""
        if self.archive is None:
            return self
        if self.archive.startswith("s3:") and not (self.archive_access_key_id and self.archive_secret_access_key):
            raise ValueError("STEMMA_ARCHIVE_ACCESS_KEY_ID and STEMMA_ARCHIVE_SECRET_ACCESS_KEY go with STEMMA_ARCHIVE")
        folder = self.archive_folder
        if folder is None:
            return self
        for other, what in (
            (self.home, "STEMMA_HOME"),
            *((root, "STEMMA_FILE_ROOTS") for root, _ in self.allowed_file_roots),
        ):
            ours, theirs = folder.resolve(), other.resolve()
            if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
                raise ValueError(f"the folder of STEMMA_ARCHIVE and {other} ({what}) must not lie in one another")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: str | None) -> str | None:
        """A mistyped address would silently never be trusted."""
        for proxy in [] if value is None or value.strip() == "*" else value.split(","):
            ip_network(proxy.strip())
        return None if value is None else value.strip()

    @cached_property
    def effective_database_url(self) -> str:
        """The database that is used: the one that was set, MySQL, or SQLite in the data folder."""
        if self.database_url:
            return self.database_url
        if self.mysql_server is None:
            return f"sqlite:///{self.home / 'stemma.sqlite'}"
        password = self.mysql_password.get_secret_value() if self.mysql_password else ""
        login = f"{quote(self.mysql_user or '', safe='')}:{quote(password, safe='')}"
        return f"mysql+mysqldb://{login}@{self.mysql_server}/{quote(self.mysql_database or '', safe='')}"

    @property
    def allowed_file_roots(self) -> tuple[tuple[Path, bool], ...]:
        """The folders in ``STEMMA_FILE_ROOTS``, and whether they may be written to."""
        written = filter(None, (one.strip() for one in self.file_roots.split(",")))
        return tuple((Path(one.removesuffix(":rw")), one.endswith(":rw")) for one in written)

    @property
    def archive_folder(self) -> Path | None:
        """The folder that is the archive, where one is."""
        if self.archive is None or not self.archive.startswith("file:"):
            return None
        return Path(unquote(urlsplit(self.archive).path))

    @property
    def wes_url_kinds(self) -> frozenset[str]:
        """``STEMMA_WES_READS``, taken apart."""
        return frozenset(filter(None, (one.strip() for one in self.wes_reads.split(","))))

    @property
    def keys_before(self) -> tuple[str, ...]:
        """The keys that credentials were sealed with before, each a secret."""
        written = self.secret_keys_before.get_secret_value() if self.secret_keys_before else ""
        return tuple(filter(None, (key.strip() for key in written.split(","))))

    @property
    def chosen_engine(self) -> str:
        """The name of the engine of runs that name none."""
        return self.default_engine or ("reana" if self.reana_server_url else "cwltool")

    @property
    def store_folder(self) -> Path:
        """Where contents lie, by digest."""
        return self.home / "store"

    @property
    def runs_folder(self) -> Path:
        """Where the embedded engine keeps its run folders."""
        return self.home / "runs"

    @property
    def keys_folder(self) -> Path:
        """Where the local issuer keeps its key, and the key lies that credentials for engines are sealed with."""
        return self.home / "keys"

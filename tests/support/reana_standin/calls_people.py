"""``ping``, ``you``, ``info``."""

from datetime import UTC
from email.utils import format_datetime

from starlette.requests import Request
from starlette.responses import Response

from support.reana_standin.context import answered, bytes_shown, site_of

VERSION = "0.9.4"
_INFO = {
    "compute_backends": ("List of supported compute backends", ["kubernetes"]),
    "default_kubernetes_cpu_limit": ("Default CPU limit for Kubernetes jobs", None),
    "default_kubernetes_cpu_request": ("Default CPU request for Kubernetes jobs", None),
    "default_kubernetes_jobs_timeout": ("Default timeout for Kubernetes jobs", "604800"),
    "default_kubernetes_memory_limit": ("Default memory limit for Kubernetes jobs", "4Gi"),
    "default_kubernetes_memory_request": ("Default memory request for Kubernetes jobs", None),
    "kubernetes_max_cpu_limit": ("Maximum allowed CPU limit for Kubernetes jobs", None),
    "kubernetes_max_cpu_request": ("Maximum allowed CPU request for Kubernetes jobs", None),
    "kubernetes_max_memory_limit": ("Maximum allowed memory limit for Kubernetes jobs", "10Gi"),
    "kubernetes_max_memory_request": ("Maximum allowed memory request for Kubernetes jobs", None),
    "maximum_interactive_session_inactivity_period": (
        "Maximum inactivity period in days before automatic closure of interactive sessions",
        None,
    ),
    "maximum_kubernetes_jobs_timeout": ("Maximum timeout for Kubernetes jobs", "1209600"),
    "maximum_workspace_retention_period": ("Maximum retention period in days for workspace files", None),
}


async def ping(request: Request) -> Response:
    """Alive; nobody needs to be signed in."""
    return answered({"message": "OK", "status": "200"})


async def you(request: Request) -> Response:
    """Who calls. The answer contains the token."""
    site = site_of(request)
    user = site.user(request)
    return answered(
        {
            "id_": user.number,
            "email": user.email,
            "full_name": f"{user.name} (of a stand-in for REANA)",
            "username": user.name,
            "reana_server_version": VERSION,
            "reana_token": {
                "value": user.token,
                "status": "active",
                "requested_at": format_datetime(site.clock.now().replace(tzinfo=UTC), usegmt=True),
            },
            "quota": {
                "cpu": {"usage": {"raw": 0, "human_readable": "0s"}},
                "disk": {"usage": bytes_shown(0)},
            },
        }
    )


async def info(request: Request) -> Response:
    """What the cluster offers."""
    site = site_of(request)
    site.user(request)
    root = str(site.folder)
    told = {name: {"title": title, "value": value} for name, (title, value) in _INFO.items()}
    told["default_workspace"] = {"title": "Default workspace", "value": root}
    told["workspaces_available"] = {"title": "List of available workspaces", "value": [root]}
    return answered(told)

"""The Python client. Of the server it knows errors and states alone.

from stemma.client import Attachment, Client, DeviceTokens

with Client(url, DeviceTokens(url, lambda prompt: print(prompt.url, prompt.code))) as client:
    workflow = client.workflows.register(name="rain", version="1", spec=Attachment.of_path("main.cwl"))
    run = client.runs.submit(workflow.id, inputs={"year": 2014})
    for event in client.runs.watch(run.id):
        print(event.step_key or "run", event.state)
"""

from stemma.client.client import Client
from stemma.client.device import DevicePrompt, DeviceTokens
from stemma.client.downloads import Downloaded
from stemma.client.issuer import LoginWays, login_ways
from stemma.client.models import Engine, Event, Registered, Revision, Run, Step, Workflow
from stemma.client.multipart import Attachment, Progress
from stemma.client.problems import (
    LoginRefused,
    NotLoggedIn,
    RateLimited,
    ServiceUnreachable,
    UnexpectedAnswer,
    UntrustedAddress,
)
from stemma.client.remote_models import Remote, RemoteFile, RemoteFiles, RemoteTest, WrittenFile
from stemma.client.runs import RunName
from stemma.client.shelf import FileShelf, KeptToken, MemoryShelf, TokenShelf
from stemma.client.tokens import ClientCredentials, GivenToken, KeptTokens, PasswordTokens, Tokens

__all__ = [
    "Attachment",
    "Client",
    "ClientCredentials",
    "DevicePrompt",
    "DeviceTokens",
    "Downloaded",
    "Engine",
    "Event",
    "FileShelf",
    "GivenToken",
    "KeptToken",
    "KeptTokens",
    "LoginRefused",
    "LoginWays",
    "MemoryShelf",
    "NotLoggedIn",
    "PasswordTokens",
    "Progress",
    "RateLimited",
    "Registered",
    "Remote",
    "RemoteFile",
    "RemoteFiles",
    "RemoteTest",
    "Revision",
    "Run",
    "RunName",
    "ServiceUnreachable",
    "Step",
    "TokenShelf",
    "Tokens",
    "UnexpectedAnswer",
    "UntrustedAddress",
    "Workflow",
    "WrittenFile",
    "login_ways",
]

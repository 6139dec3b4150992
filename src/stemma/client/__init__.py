"""The Python client. Of the server it knows errors and states alone.

from stemma.client import Client, PasswordTokens

with Client(url, PasswordTokens(url, "user_1", "password_1")) as client:
    workflow = client.workflows.register(name="rain", version="1", spec=Attachment.of_path("main.cwl"))
    run = client.runs.submit(workflow.id, inputs={"year": 2014})
    for event in client.runs.watch(run.id):
        print(event.step_key or "run", event.state)
"""

from stemma.client.client import Client
from stemma.client.models import Event, Registered, Revision, Run, Step, Workflow
from stemma.client.multipart import Attachment
from stemma.client.problems import ServiceUnreachable
from stemma.client.tokens import GivenToken, KeptToken, PasswordTokens, Tokens, TokenShelf

__all__ = [
    "Attachment",
    "Client",
    "Event",
    "GivenToken",
    "KeptToken",
    "PasswordTokens",
    "Registered",
    "Revision",
    "Run",
    "ServiceUnreachable",
    "Step",
    "TokenShelf",
    "Tokens",
    "Workflow",
]

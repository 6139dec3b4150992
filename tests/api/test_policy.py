"""Every route against the policy table: as a stranger, as another group, without the role, and as the owner.

Generated from the OpenAPI document, so that a new route is covered as soon as it is there. A parameter that these
tests do not know makes them fail: say below what it names.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, Engine, event

from conftest import Served, opened_installation, served_installation, working
from stemma.api import audit
from stemma.api.app import create_app
from stemma.auth.policy import ADMIN, ALLOWED, TABLE, USER, Action, Relation, Rule, rule_for
from stemma.database import prepared
from support.contract import Operation, declared_actions, operations
from support.databases import KINDS
from support.documents import ECHO

NAMING = {"registry_id", "revision", "execution_id", "step", "reana_name", "reana_run_number", "file_id"}
"""Parameters that name things."""
NAMELESS = {
    "limit", "cursor", "name", "remote", "path", "version", "status", "group", "main", "format", "engine", "scope", "nowait", "follow",
    "last-event-id", "range", "if-none-match", "spec_file", "input_file", "inputs", "files",
}  # fmt: skip
"""Parameters that name nothing; cursors and groups have tests of their own below, remotes in test_remotes.py."""
CHANGING = {"date", "content-length", audit.REQUEST_HEADER.lower()}
"""Headers that are another each time."""
CAT = b"""
cwlVersion: v1.2
class: CommandLineTool
baseCommand: [cat]
inputs: {text: {type: File, inputBinding: {position: 1}}}
stdout: out.txt
outputs: {out: stdout}
"""


@dataclass(frozen=True)
class Named:
    """What the parameters of a request name."""

    registry_id: int
    execution_id: int
    file_id: int
    reana_name: str
    reana_run_number: int = 1
    revision: int = 1
    step: str = "main"

    def hide(self, text: str) -> str:
        """``text`` without what was asked for, since that alone may differ."""
        text = text.replace(f"{self.reana_name} #{self.reana_run_number}", "NAME").replace(self.reana_name, "NAME")
        numbers = (self.registry_id, self.execution_id, self.file_id)
        for number in sorted({str(number) for number in numbers}, key=len, reverse=True):
            text = re.sub(rf"(?<![\w-]){number}(?![\w-])", "N", text)
        return text


NOBODYS = Named(777_701, 777_702, 777_703, "no-such:1")


@dataclass(frozen=True)
class Person:
    """Somebody with a token."""

    name: str
    groups: tuple[str, ...]
    roles: tuple[str, ...] = (USER, ADMIN)


OWNER = Person("owner", ("group1",))
STRANGER = Person("stranger", ())
OTHER = Person("other", ("group2",))


@dataclass
class World:
    """A service without a worker, with a finished run of group1; and clients for anybody."""

    service: Served
    theirs: Named
    clients: dict[Person, httpx.Client] = field(default_factory=dict)

    def client(self, person: Person) -> httpx.Client:
        """A client that speaks for ``person``."""
        if person not in self.clients:
            self.clients[person] = self.service.client_of(person.name, *person.groups, roles=person.roles)
        return self.clients[person]

    def register(self, person: Person, document: bytes = ECHO, name: str | None = None) -> int:
        """The number of a fresh entry."""
        form = {"name": name or self.service.name(), "version": "1"}
        files = {"spec_file": ("main.cwl", document), "input_file": ("inputs.yml", b"words: hi")}
        if document is not ECHO:
            del files["input_file"]
        answer = self.client(person).post("/workflow_registry/register", data=form, files=files)
        assert answer.status_code == 200, answer.text
        number: int = answer.json()["data"]["registry_id"]
        return number

    def submit(self, person: Person, workflow: int) -> Named:
        """A fresh run, which stays queued."""
        answer = self.client(person).post(f"/workflow_execution/execute/{workflow}", params={"nowait": True})
        assert answer.status_code == 200, answer.text
        shown = answer.json()["data"]
        return replace(
            NOBODYS,
            registry_id=workflow,
            execution_id=shown["execution_id"],
            reana_name=shown["reana_name"],
            reana_run_number=shown["reana_run_number"],
        )

    def ended(self, person: Person, workflow: int) -> Named:
        """A fresh run that was stopped."""
        named = self.submit(person, workflow)
        assert self.client(person).post(f"/workflow_execution/{named.execution_id}/stop").status_code == 200
        return named


@pytest.fixture(scope="module", params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp(f"world-{request.param}")
        installation = stack.enter_context(opened_installation(request.param, folder))
        made = World(stack.enter_context(served_installation(installation)), NOBODYS)
        with working(installation):
            named = made.submit(OWNER, made.register(OWNER))
            run = made.service.run_to_end(made.client(OWNER), named.execution_id)
        assert run["status"] == "finished", run
        made.theirs = replace(named, file_id=run["outputs"]["said"]["id"], step=run["steps"][0]["name"])
        yield made
        for client in made.clients.values():
            client.close()


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collects every SQL statement that is executed meanwhile, by SQLAlchemy or by the driver directly."""
    seen: list[str] = []
    directly = prepared._Compiled.found

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    def found(self: prepared._Compiled, connection: Connection, values: dict[str, Any]) -> Sequence[Sequence[Any]]:
        if connection.engine.url == engine.url:  # a worker of another test asks its own database
            seen.append(self.sql)
        return directly(self, connection, values)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prepared._Compiled, "found", found)
            yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


@dataclass(frozen=True)
class Seen:
    """All that a caller can see of an answer, but for the names in it; and what was looked up for it."""

    status: int
    headers: dict[str, str]
    body: str
    lookups: list[str]


def ask(world: World, person: Person, operation: Operation, named: Named, chosen: frozenset[str]) -> Seen:
    """Call ``operation``; of its optional parameters, with those in ``chosen``."""
    query = {
        name: getattr(named, name)
        for name, needed in operation.parameters("query").items()
        if name in NAMING and (needed or name in chosen)
    }
    if "nowait" in operation.parameters("query"):
        query["nowait"] = True
    files = {"spec_file": ("main.cwl", ECHO)} if "spec_file" in operation.form else None
    path = operation.path.format(**{name: getattr(named, name) for name in operation.parameters("path")})
    with statements(world.service.installation.database.engine) as lookups:
        answer = world.client(person).request(operation.method, path, params=query, files=files)
        body = answer.text
    headers = {name: value for name, value in answer.headers.items() if name not in CHANGING}
    return Seen(answer.status_code, headers, named.hide(body), list(lookups))


def ways_to_name(operation: Operation) -> list[frozenset[str]]:
    """Which of the optional parameters that name things to give: none, and each alone."""
    optional = [name for name, needed in operation.parameters("query").items() if name in NAMING and not needed]
    is_named_by_them = operation.method != "GET" and not operation.parameters("path")
    return [*([] if is_named_by_them and optional else [frozenset()]), *(frozenset({name}) for name in optional)]


@dataclass(frozen=True)
class Guarded:
    """An operation that names things, and its row of the table."""

    operation: Operation
    rule: Rule

    def without_role(self) -> Person:
        """A member of the group whose roles do not allow it."""
        roles = {USER, ADMIN} - self.rule.roles
        return Person("colleague", ("group1",), tuple(roles))


def guarded(world: World) -> list[Guarded]:
    app = create_app(world.service.installation)
    actions = {(method, path): found[0] for method, path, found in declared_actions(app) if found}
    found = []
    for operation in operations(app.openapi()):
        if not operation.is_guarded:
            continue
        taken = {name.lower() for place in ("path", "query", "header") for name in operation.parameters(place)}
        unknown = (taken | set(operation.form)) - NAMING - NAMELESS
        assert not unknown, f"{operation} takes {unknown}: say in NAMING or NAMELESS whether that names something"
        rule = rule_for(actions[operation.method, operation.path], operation.tag)
        assert rule is not None, f"{operation} is in no row of the table"
        if taken & NAMING:
            found.append(Guarded(operation, rule))
    assert len(found) >= 28
    return found


def test_routes_when_the_thing_is_of_another_group_then_it_does_not_exist(world: World) -> None:
    for each, person in itertools.product(guarded(world), (STRANGER, OTHER)):
        for chosen in ways_to_name(each.operation):
            about = (str(each.operation), person.name, set(chosen))
            theirs = ask(world, person, each.operation, world.theirs, chosen)
            nobodys = ask(world, person, each.operation, NOBODYS, chosen)
            is_list = not each.operation.parameters("path") and chosen <= {"registry_id"} and theirs.status == 200
            assert theirs.status == (200 if is_list else 404), (*about, theirs.body)
            assert theirs.lookups, about
            if is_list and not chosen:  # nothing was named; whose things are listed, other tests say
                assert theirs.lookups == nobodys.lookups, about
                continue
            assert theirs == nobodys, about


def test_routes_when_the_role_does_not_allow_it_then_403_before_any_look_up(world: World) -> None:
    for each in guarded(world):
        assert each.without_role().roles != tuple(each.rule.roles)
        for named in (world.theirs, NOBODYS):
            for chosen in ways_to_name(each.operation):
                seen = ask(world, each.without_role(), each.operation, named, chosen)
                assert seen.status == 403, (str(each.operation), seen.body)
                assert "you need the role" in seen.body
                assert not [statement for statement in seen.lookups if statement.lstrip().startswith("SELECT")]


def test_routes_when_the_caller_is_in_the_group_with_the_role_then_they_do_it(world: World) -> None:
    for each in guarded(world):
        for role in each.rule.roles:
            person = Person(f"owner as {role}", ("group1",), (role,))
            for chosen in ways_to_name(each.operation):
                named = world.theirs if each.rule.action is Action.READ else own(world, each.operation)
                seen = ask(world, person, each.operation, named, chosen)
                assert seen.status == 200, (str(each.operation), role, chosen, seen.body)
                assert seen.lookups


def own(world: World, operation: Operation) -> Named:
    """Something fresh for an operation that changes it."""
    workflow = world.register(OWNER)
    return world.submit(OWNER, workflow) if operation.path.endswith("/stop") else world.ended(OWNER, workflow)


def test_things_when_others_have_tried_everything_then_they_are_as_before(world: World) -> None:
    workflow = world.register(OWNER)
    named = replace(world.submit(OWNER, workflow), file_id=world.theirs.file_id)
    entry, run = f"/workflow_registry/{workflow}", f"/workflow_execution/{named.execution_id}"
    before = [world.client(OWNER).get(path).json()["data"] for path in (entry, run)]
    for each, person in itertools.product(guarded(world), (STRANGER, OTHER, Person("colleague", ("group1",), ()))):
        for chosen in ways_to_name(each.operation):
            ask(world, person, each.operation, named, chosen)
    assert [world.client(OWNER).get(path).json()["data"] for path in (entry, run)] == before


def test_table_when_read_then_every_row_is_a_route_and_roles_agree(world: World) -> None:
    app = create_app(world.service.installation)
    actions = {(method, path): found[0] for method, path, found in declared_actions(app) if found}
    used = {
        (actions[operation.method, operation.path], operation.tag)
        for operation in operations(app.openapi())
        if operation.is_guarded
    }
    assert {(rule.action, rule.resource) for rule in TABLE} == used
    assert {action: ALLOWED[action] for action in Action} == {rule.action: rule.roles for rule in TABLE}
    assert {rule.resource for rule in TABLE if rule.relation is not Relation.MEMBER} == {"service", "engine", "remote"}


# What an answer could give away beside itself


def test_register_when_another_group_has_the_name_then_it_is_free(world: World) -> None:
    name = world.service.name()
    numbers = {world.register(OWNER, name=name), world.register(OTHER, name=name)}
    assert len(numbers) == 2
    form = {"name": name, "version": "1"}
    again = world.client(OTHER).post("/workflow_registry/register", data=form, files={"spec_file": ("m.cwl", ECHO)})
    assert again.status_code == 400
    found = world.client(OTHER).get("/workflow_registry", params={"name": name}).json()["data"]["items"]
    assert [entry["group"] for entry in found] == ["group2"]


def test_update_when_another_group_has_the_name_then_it_is_free(world: World) -> None:
    name = world.service.name()
    world.register(OWNER, name=name)
    other = world.register(OTHER)
    renamed = world.client(OTHER).put(f"/workflow_registry/update/{other}", data={"name": name})
    assert renamed.status_code == 200, renamed.text


def test_lists_when_the_cursor_is_of_another_group_then_one_s_own_follow(world: World) -> None:
    below = world.register(OTHER)
    world.ended(OTHER, below)
    for _ in range(2):
        world.ended(OWNER, world.register(OWNER))
    for path in ("/workflow_registry", "/workflow_execution"):
        cursor = world.client(OWNER).get(path, params={"limit": 1}).json()["data"]["next_cursor"]
        page = world.client(OTHER).get(path, params={"cursor": cursor}).json()["data"]
        assert page["items"], path
        assert {entry["group"] for entry in page["items"]} == {"group2"}
        nothing = world.client(STRANGER).get(path, params={"cursor": cursor}).json()["data"]
        assert nothing == {"items": [], "next_cursor": None}


def test_downloads_when_others_know_the_tag_then_404_and_not_304(world: World) -> None:
    theirs = world.theirs
    for path in (
        f"/workflow_execution/files/{theirs.file_id}",
        f"/workflow_registry/{theirs.registry_id}/spec",
        f"/workflow_registry/{theirs.registry_id}/inputs",
    ):
        tag = world.client(OWNER).get(path).headers["etag"]
        for known in (tag, "*"):
            sent = {"If-None-Match": known}
            assert world.client(OWNER).get(path, headers=sent).status_code == 304
            refused = world.client(OTHER).get(path, headers=sent)
            assert refused.status_code == 404, path
            assert "etag" not in refused.headers
        part = world.client(OTHER).get(path, headers={"Range": "bytes=0-1"})
        assert part.status_code == 404


def test_execute_when_inputs_name_things_of_others_then_as_if_they_were_not(world: World) -> None:
    digest = world.client(OWNER).get(f"/workflow_execution/files/{world.theirs.file_id}").headers["etag"].strip('"')
    workflow = world.register(OTHER, CAT)
    pairs = [
        ({"location": f"stemma:file:{world.theirs.file_id}"}, {"location": f"stemma:file:{NOBODYS.file_id}"}),
        ({"location": f"stemma:sha256:{digest}"}, {"location": f"stemma:sha256:{'0' * 64}"}),
        ({"valueFromEntity": f"{{{{{world.theirs.file_id}}}}}"}, {"valueFromEntity": f"{{{{{NOBODYS.file_id}}}}}"}),
        ({"checksum": f"sha256${digest}"}, {"checksum": f"sha256${'0' * 64}"}),
        ({"location": digest}, {"location": "0" * 64}),
    ]
    for theirs, nobodys in pairs:
        answers = []
        for source in (theirs, nobodys):
            body = {"inputs": {"text": {"class": "File", **source}}, "nowait": True}
            answer = world.client(OTHER).post(f"/workflow_execution/execute/{workflow}", json=body)
            shown = answer.text.replace(digest, "0" * 64)
            answers.append((answer.status_code, re.sub(rf"\b({world.theirs.file_id}|{NOBODYS.file_id})\b", "N", shown)))
        assert answers[0] == answers[1], theirs
        assert answers[0][0] in {404, 422}, (theirs, answers)


def test_execute_when_a_sent_file_claims_a_checksum_of_others_then_nothing_of_theirs_is_used(world: World) -> None:
    digest = world.client(OWNER).get(f"/workflow_execution/files/{world.theirs.file_id}").headers["etag"].strip('"')
    workflow = world.register(OTHER, CAT)
    claims = {"class": "File", "location": "mine.txt", "checksum": f"sha256${digest}"}
    answer = world.client(OTHER).post(
        f"/workflow_execution/execute/{workflow}",
        params={"nowait": True},
        data={"inputs": f'{{"text": {{"class": "File", "location": "mine.txt", "checksum": "{claims["checksum"]}"}}}}'},
        files=[("files", ("mine.txt", b"my own bytes"))],
    )
    if answer.status_code == 422:
        return
    run = world.client(OTHER).get(f"/workflow_execution/{answer.json()['data']['execution_id']}").json()["data"]
    number = run["inputs"]["text"]["id"]
    assert world.client(OTHER).get(f"/workflow_execution/files/{number}").content == b"my own bytes"


def test_register_when_a_placeholder_names_a_file_of_others_then_as_if_it_was_not(world: World) -> None:
    answers = []
    for number in (world.theirs.file_id, NOBODYS.file_id):
        document = CAT.replace(
            b"inputBinding: {position: 1}",
            f'inputBinding: {{position: 1}}, valueFromEntity: "{{{{{number}}}}}"'.encode(),
        )
        workflow = world.register(OTHER, document)
        answer = world.client(OTHER).post(f"/workflow_execution/execute/{workflow}", params={"nowait": True})
        answers.append((answer.status_code, re.sub(rf"\b{number}\b", "N", answer.text)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404


def test_runs_when_two_groups_have_one_of_the_same_name_then_each_sees_and_deletes_its_own(world: World) -> None:
    name = world.service.name()
    mine, other = (world.ended(person, world.register(person, name=name)) for person in (OWNER, OTHER))
    assert (mine.reana_name, mine.reana_run_number) == (other.reana_name, other.reana_run_number)
    named = {"reana_name": mine.reana_name, "reana_run_number": mine.reana_run_number}
    captured = world.client(OTHER).post("/provenance/capture", params=named).json()["data"]
    assert captured["execution_id"] == other.execution_id
    deleted = world.client(OTHER).delete("/workflow_execution/delete", params={"reana_name": mine.reana_name})
    assert deleted.json()["data"]["deleted"] == [other.execution_id]
    assert world.client(OWNER).get(f"/workflow_execution/{mine.execution_id}").status_code == 200
    assert world.client(OTHER).delete("/workflow_execution/delete", params={"reana_name": name}).status_code == 404


def test_streams_when_the_run_is_of_others_or_membership_is_lost_then_404(world: World) -> None:
    number = world.ended(OWNER, world.register(OWNER)).execution_id
    events, logs = f"/workflow_execution/{number}/events", f"/workflow_execution/{number}/logs"
    whole = world.client(OWNER).get(events).text
    last = re.findall(r"^id: (\d+)$", whole, re.MULTILINE)[0]
    assert last in whole
    for person in (OTHER, STRANGER, Person("owner", ("group3",))):  # the last is the owner, who has left the group
        for headers in ({}, {"Last-Event-ID": last}):
            assert world.client(person).get(events, headers=headers).status_code == 404
        for query in ({}, {"follow": True}, {"step": "main"}, {"step": "main", "follow": True}):
            assert world.client(person).get(logs, params=query).status_code == 404


def test_writes_when_the_caller_is_in_several_groups_then_each_thing_keeps_its_own(world: World) -> None:
    both = Person("both", ("group1", "group2"))
    form = {"name": world.service.name(), "version": "1"}
    files = {"spec_file": ("main.cwl", ECHO)}
    assert world.client(both).post("/workflow_registry/register", data=form, files=files).status_code == 422
    for group in both.groups:
        made = world.client(both).post("/workflow_registry/register", data={**form, "group": group}, files=files)
        assert made.json()["data"]["group"] == group
    elsewhere = world.client(both).post("/workflow_registry/register", data={**form, "group": "group3"}, files=files)
    assert elsewhere.status_code == 403
    seen = world.client(both).get("/workflow_registry", params={"name": form["name"]}).json()["data"]["items"]
    assert {entry["group"] for entry in seen} == set(both.groups)


@pytest.mark.parametrize("group", ["/group1", "group1/", "GROUP1", "group1 ", "' OR 1=1 --", '"; DROP', "%", "🌧", ""])
def test_groups_when_they_are_named_alike_then_they_are_others(world: World, group: str) -> None:
    odd = Person(f"odd {group}", (group,))
    assert world.client(odd).get(f"/workflow_registry/{world.theirs.registry_id}").status_code == 404
    assert world.client(odd).get(f"/workflow_execution/{world.theirs.execution_id}").status_code == 404
    assert world.client(odd).get("/workflow_execution").json()["data"]["items"] == []


def test_provenance_when_a_captured_run_is_of_others_then_the_same_look_up(world: World) -> None:
    named = world.ended(OWNER, world.register(OWNER))
    assert world.client(OWNER).post(f"/provenance/capture/{named.execution_id}").status_code == 200
    for each in guarded(world):
        if each.operation.tag != "provenance":
            continue
        assert ask(world, OTHER, each.operation, named, frozenset()) == ask(
            world, OTHER, each.operation, NOBODYS, frozenset()
        ), str(each.operation)

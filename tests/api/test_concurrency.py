"""Many requests at once about the same thing: none fails for it, none undoes another."""

from concurrent.futures import ThreadPoolExecutor

from conftest import Served
from support.documents import ECHO

AT_ONCE = 8
OTHER = ECHO.replace(b"[echo]", b"[echo, more]")


def register(served: Served, name: str) -> int:
    with served.client_as("user_1") as client:
        files = {"spec_file": ("main.cwl", ECHO)}
        answer = client.post("/workflow_registry/register", data={"name": name, "version": "1"}, files=files)
    number: int = answer.json()["data"]["registry_id"]
    return number


def test_execute_when_one_user_submits_many_at_once_then_each_gets_a_number_of_its_own(served: Served) -> None:
    workflow = register(served, served.name("many"))

    def submit(_: int) -> tuple[int, int]:
        with served.client_as("user_1") as client:
            asked = {"inputs": {"words": "x"}, "nowait": True}
            answer = client.post(f"/workflow_execution/execute/{workflow}", json=asked)
        return answer.status_code, (answer.json()["data"] or {}).get("reana_run_number", 0)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(submit, range(5 * AT_ONCE)))
    assert {status for status, _ in found} == {200}
    assert sorted(number for _, number in found) == list(range(1, 5 * AT_ONCE + 1))


def test_update_when_two_change_different_parts_at_once_then_neither_is_undone(served: Served) -> None:
    for _ in range(4):
        entry = register(served, served.name("parts"))
        parts = [{"spec_file": ("main.cwl", OTHER)}, {"input_file": ("inputs.yml", b"words: changed")}]

        def update(files: dict[str, tuple[str, bytes]], entry: int = entry) -> int:
            with served.client_as("user_1") as client:
                return client.put(f"/workflow_registry/update/{entry}", files=files).status_code

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(update, parts)) == [200, 200]
        with served.client_as("user_1") as client:
            assert client.get(f"/workflow_registry/{entry}/spec").content == OTHER
            assert client.get(f"/workflow_registry/{entry}/inputs").content == b"words: changed"


def test_list_when_the_caller_is_in_six_hundred_groups_then_sees_what_lies_in_them(served: Served) -> None:
    workflow = register(served, served.name("seen"))
    with served.client_as("user_1") as client:
        client.post(f"/workflow_execution/execute/{workflow}", json={"inputs": {"words": "x"}, "nowait": True})
    groups = ["group1", *(f"g{number}" for number in range(600))]
    with served.client_of("many", *groups) as client:
        found = client.get("/workflow_execution", params={"registry_id": workflow, "limit": 5})
        assert found.status_code == 200, found.text
        assert [run["registry_id"] for run in found.json()["data"]["items"]] == [workflow]

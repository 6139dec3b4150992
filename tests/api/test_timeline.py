"""Timelines over HTTP: of real runs, as SVG and as PNG."""

import xml.etree.ElementTree as ET

import httpx


def test_timeline_when_asked_for_then_is_svg_that_names_the_step(user: httpx.Client, ended_run: int) -> None:
    answer = user.get(f"/workflow_execution/{ended_run}/timeline")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    assert "-timeline.svg" in answer.headers["content-disposition"]
    words = {text.text or "" for text in ET.fromstring(answer.content).iter("{http://www.w3.org/2000/svg}text")}
    assert {"Steps", "main", "finished", "No step waited for inputs from elsewhere."} <= words
    assert any(f"timeline of execution {ended_run}" in text for text in words)


def test_timeline_when_png_is_asked_for_then_is_a_picture(user: httpx.Client, ended_run: int) -> None:
    answer = user.get(f"/workflow_execution/{ended_run}/timeline", params={"format": "png"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")


def test_timeline_when_the_format_is_another_then_422(user: httpx.Client, ended_run: int) -> None:
    assert user.get(f"/workflow_execution/{ended_run}/timeline", params={"format": "gif"}).status_code == 422


def test_timeline_when_the_run_is_of_others_then_there_is_none(stranger: httpx.Client, ended_run: int) -> None:
    theirs = stranger.get(f"/workflow_execution/{ended_run}/timeline")
    nobodys = stranger.get("/workflow_execution/777777/timeline")
    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.text.replace(f"execution {ended_run}", "N") == nobodys.text.replace("execution 777777", "N")

"""Which address lies at which remote, and what a path at a remote is as an address."""

import pytest

from stemma import clock
from stemma.database.queries.credentials import CredentialScope
from stemma.database.queries.remotes import Remote
from stemma.errors import InvalidRequest, RemoteNotFound
from stemma.lifecycle.remotes_addresses import address_at, serving
from stemma.records import Person


def remote(name: str, kind: str, *, group: str | None = None, **settings: str) -> Remote:
    now = clock.now()
    return Remote(
        uuid=clock.new_uuid(),
        scope=CredentialScope.PERSON if group is None else CredentialScope.GROUP,
        owner=group or "s1",
        name=name,
        kind=kind,
        settings=settings,
        sealed=None,
        created_by=Person("s1", "user_1"),
        created_at=now,
        updated_at=now,
    )


BASE = remote("base", "https", url="https://data.example.org/private")
DEEPER = remote("deeper", "https", url="https://data.example.org/private/2014/")
BUCKET = remote("bucket", "s3", bucket="rain")
FOLDER = remote("folder", "s3", bucket="rain", prefix="raw/2014")
OF_GROUP = remote("of-group", "s3", group="g1", bucket="rain", prefix="raw/2014/january")
CONTAINER = remote("container", "az", container="rain", account="acc")
DRIVE = remote("drive", "rclone", type="webdav")
ROOT = remote("root", "file", path="/srv/data")
KNOWN = [BASE, DEEPER, BUCKET, FOLDER, CONTAINER, DRIVE, ROOT, OF_GROUP]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://data.example.org/private", BASE),
        ("https://data.example.org/private/a.csv?x=1", BASE),
        ("https://DATA.example.org:443/private/a.csv", BASE),
        ("https://data.example.org/private/2014/a.csv", DEEPER),
        ("https://data.example.org/%70rivate/a.csv", BASE),
        ("https://data.example.org/private/20145/a.csv", BASE),
        ("https://data.example.org/privateer/a.csv", None),
        ("https://data.example.org/", None),
        ("http://data.example.org/private/a.csv", None),
        ("https://data.example.org:8443/private/a.csv", None),
        ("https://data.example.org.evil.example/private/a.csv", None),
        ("https://data.example.org@evil.example/private/a.csv", None),
        ("https://user:x@data.example.org/private/a.csv", None),
        ("https://data.example.org/private/../a.csv", None),
        ("https://data.example.org/private/%2e%2E/a.csv", None),
        ("https://data.example.org/private/..%2Fa.csv", None),
        ("https://data.example.org/private/..%5ca.csv", None),
        ("https://[::1/private", None),
        ("https://data.example.org:99999/private/a", None),
        ("s3://rain/a.csv", BUCKET),
        ("s3://rain/raw/2014/a.csv", FOLDER),
        ("s3://rain/raw/2014/january/a.csv", FOLDER),
        ("s3://rain/raw/20145/a.csv", BUCKET),
        ("s3://rain/raw/%32014/a.csv", BUCKET),
        ("s3://rain/raw/2014/a#b?c.csv", FOLDER),
        ("s3://rains/a.csv", None),
        ("gs://rain/a.csv", None),
        ("az://rain/a.csv", CONTAINER),
        ("rclone:drive/a/b.csv", DRIVE),
        ("rclone:drive", DRIVE),
        ("file:///srv/data/a.csv", ROOT),
        ("file:///srv/database/a.csv", None),
        ("file:///srv/data/../../etc/shadow", None),
    ],
)
def test_serving_when_asked_then_the_nearest_and_longest_that_fits(address: str, found: Remote | None) -> None:
    assert serving(KNOWN, address) is found


def test_serving_when_one_is_a_person_s_own_then_it_goes_before_a_longer_one_of_the_group() -> None:
    assert serving([BUCKET, OF_GROUP], "s3://rain/raw/2014/january/a.csv") is BUCKET
    assert serving([OF_GROUP], "s3://rain/raw/2014/january/a.csv") is OF_GROUP
    assert serving([FOLDER, OF_GROUP], "s3://rain/raw/2014/january/a.csv") is FOLDER


@pytest.mark.parametrize(
    "address", ["rclone:none/a", "rclone:bucket/a", "rclone:/a", "rclone:DRIVE/a", "rclone::local/"]
)
def test_serving_when_no_rclone_remote_has_that_name_then_says_so(address: str) -> None:
    with pytest.raises(RemoteNotFound):
        serving(KNOWN, address)


@pytest.mark.parametrize("one", KNOWN, ids=lambda one: one.name)
@pytest.mark.parametrize("path", ["a.csv", "raw/b c/ä.csv", "x/100%25.csv"])
def test_address_at_when_looked_up_again_then_leads_to_the_remote(one: Remote, path: str) -> None:
    assert serving([one], address_at(one, path)) is one


@pytest.mark.parametrize(
    ("one", "path", "address"),
    [
        (BASE, "a b/c#d?.csv", "https://data.example.org/private/a%20b/c%23d%3F.csv"),
        (DEEPER, "a.csv", "https://data.example.org/private/2014/a.csv"),
        (BUCKET, "", "s3://rain/"),
        (BUCKET, "/a/b.csv", "s3://rain/a/b.csv"),
        (FOLDER, "b.csv", "s3://rain/raw/2014/b.csv"),
        (CONTAINER, "b.csv", "az://rain/b.csv"),
        (DRIVE, "b.csv", "rclone:drive/b.csv"),
        (ROOT, "b.csv", "file:///srv/data/b.csv"),
    ],
)
def test_address_at_when_made_then_as_inputs_write_it(one: Remote, path: str, address: str) -> None:
    assert address_at(one, path) == address


@pytest.mark.parametrize("path", ["../a", "a/../b", "a/./b", "a//b", "a\x00b", "a\nb", "a\\b", "x" * 1025, ".."])
@pytest.mark.parametrize("one", [BASE, BUCKET, DRIVE, ROOT], ids=lambda one: one.name)
def test_address_at_when_it_is_no_path_then_refused(one: Remote, path: str) -> None:
    with pytest.raises(InvalidRequest, match="a path at a remote"):
        address_at(one, path)

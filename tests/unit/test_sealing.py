"""Sealing: what was sealed opens with the same key and for the same purpose, and nowhere else."""

import stat
import threading
from pathlib import Path

import pytest

from stemma.auth.sealing import SealBroken, Sealer, derived
from stemma.settings import Settings

MINE = ("reana", "person", "s1")


def sealer(home: Path, key: str | None = None, before: str | None = None) -> Sealer:
    return Sealer(Settings(_env_file=None, home=home, secret_key=key, secret_keys_before=before))


def test_open_when_key_and_purpose_are_the_same_then_the_secret(tmp_path: Path) -> None:
    sealed = sealer(tmp_path, "k" * 40).seal("geheim ü 1", MINE)
    assert "geheim" not in sealed
    assert sealer(tmp_path / "other", "k" * 40).open(sealed, MINE) == "geheim ü 1"
    assert sealer(tmp_path, "k" * 40).seal("geheim ü 1", MINE) != sealed


@pytest.mark.parametrize(
    "purpose", [("reana", "person", "s2"), ("reana", "group", "s1"), ("wes", "person", "s1"), ("reana", "person"), ()]
)
def test_open_when_for_another_purpose_then_refused(tmp_path: Path, purpose: tuple[str, ...]) -> None:
    mine = sealer(tmp_path, "k" * 40)
    with pytest.raises(SealBroken):
        mine.open(mine.seal("geheim", MINE), purpose)


def test_open_when_sealed_with_another_key_then_refused(tmp_path: Path) -> None:
    sealed = sealer(tmp_path, "k" * 40).seal("geheim", MINE)
    with pytest.raises(SealBroken):
        sealer(tmp_path, "l" * 40).open(sealed, MINE)


def test_open_when_the_key_was_changed_then_with_one_of_those_before(tmp_path: Path) -> None:
    oldest, older = sealer(tmp_path, "k" * 40).seal("geheim", MINE), sealer(tmp_path, "l" * 40).seal("geheim", MINE)
    today = sealer(tmp_path, "m" * 40, f"{'l' * 40}, {'k' * 40},")
    assert (today.open(oldest, MINE), today.open(older, MINE)) == ("geheim", "geheim")
    assert not today.is_of_today(oldest, MINE)
    fresh = today.seal("geheim", MINE)
    assert today.is_of_today(fresh, MINE)
    assert sealer(tmp_path, "m" * 40).open(fresh, MINE) == "geheim"
    with pytest.raises(SealBroken):
        today.open(oldest, ("wes", "person", "s1"))
    with pytest.raises(SealBroken):
        sealer(tmp_path, "k" * 40).open(fresh, MINE)


def test_open_when_a_key_is_set_after_one_was_made_then_with_the_one_that_was_made(tmp_path: Path) -> None:
    sealed = sealer(tmp_path).seal("geheim", MINE)
    later = sealer(tmp_path, "k" * 40)
    assert later.open(sealed, MINE) == "geheim"
    assert not later.is_of_today(sealed, MINE)


@pytest.mark.parametrize("position", [0, 10, -30, -2])
def test_open_when_changed_then_refused(tmp_path: Path, position: int) -> None:
    mine = sealer(tmp_path, "k" * 40)
    sealed = list(mine.seal("geheim", MINE))
    sealed[position] = "A" if sealed[position] != "A" else "B"
    with pytest.raises(SealBroken):
        mine.open("".join(sealed), MINE)


@pytest.mark.parametrize("sealed", ["", "....", "no jwe at all", "a.b.c.d.e", "é" * 20])
def test_open_when_it_is_nothing_that_was_sealed_then_refused(tmp_path: Path, sealed: str) -> None:
    with pytest.raises(SealBroken):
        sealer(tmp_path, "k" * 40).open(sealed, MINE)


def test_key_when_none_is_set_then_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    made: list[Sealer] = []
    threads = [threading.Thread(target=lambda: made.append(sealer(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sealed = made[0].seal("geheim", MINE)
    assert {each.open(sealed, MINE) for each in [*made, sealer(tmp_path)]} == {"geheim"}
    assert len(made) == 8
    [file] = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes().strip()) >= 43


def test_derived_when_compared_with_rfc_5869_then_its_first_block() -> None:
    # Appendix A, test cases 1 and 3: the first 32 bytes of each output.
    key = bytes([0x0B] * 22)
    salted = derived(key, bytes(range(13)), bytes(range(0xF0, 0xFA)))
    assert salted.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    assert derived(key, b"", b"").hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"

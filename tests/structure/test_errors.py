"""The errors: every class is in the tree that the module shows, and carries its facts."""

import re

import pytest

import stemma.api.app  # noqa: F401 - so that every subclass is known
from stemma import errors
from stemma.errors import Finding, StemmaError


def all_classes(base: type[StemmaError] = StemmaError) -> list[type[StemmaError]]:
    return [base, *(below for child in base.__subclasses__() for below in all_classes(child))]


OWN = [kind for kind in all_classes() if kind.__module__.startswith(f"{errors.__name__}.")]


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_error_when_defined_is_in_the_tree_with_its_status(kind: type[StemmaError]) -> None:
    line = re.search(rf"^ +{kind.__name__}\b(.*)$", errors.__doc__ or "", re.MULTILINE)
    assert line, f"{kind.__name__} is not in the tree of stemma.errors"
    said = re.search(r"\b[45]\d\d\b", line[1])
    if said:
        assert int(said[0]) == kind.status


def test_tree_when_compared_has_all_that_the_module_exports() -> None:
    assert {kind.__name__ for kind in OWN} == set(errors.__all__) - {"Finding"}


def test_codes_when_compared_are_each_of_one_class() -> None:
    codes = [kind.code for kind in all_classes() if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


def test_finding_when_shown_is_what_editors_understand() -> None:
    assert str(Finding("no such field", "cwl/unknown-field", "a/b.cwl", 3, 7)) == "a/b.cwl:3:7: no such field"
    assert str(Finding("no such field", "cwl/unknown-field")) == "no such field"

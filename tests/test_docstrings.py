"""Every public docstring has its sections, in their order, and says what the signature says."""

import inspect
import re

import pytest
from lossfast._drivers.runtime import CURVATURES

import lossfast as lf
import lossfast.functional as F
from lossfast._loss import REGISTRY, Loss
from lossfast._methods import METHODS

#: In the order in which they stand.
SECTIONS = ("Parameters", "Returns", "Raises", "Notes", "References", "Examples")
PUBLIC = {name: member for name, member in vars(lf).items() if name in lf.__all__ and callable(member)}
FUNCTIONS = {name: member for name, member in PUBLIC.items() if inspect.isfunction(member)}
CLASSES = {name: member for name, member in PUBLIC.items() if inspect.isclass(member)}
LOSSES = {name: cls for name, cls in CLASSES.items() if issubclass(cls, Loss)}


def methods(cls):
    """The public methods that a class defines, and the call."""
    return {
        f"{cls.__name__}.{name}": member
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if (name[0] != "_" or name == "__call__") and name not in BODIES
    }


#: What a class offers to those who write losses, and not to those who call them.
BODIES = {"definition", "value", "derivative", "second_derivative", "terms_of", "scaled", "added", "reference"}
CALLABLES = FUNCTIONS | {name: m for cls in CLASSES.values() for name, m in methods(cls).items()}


def sections(text):
    """The text above the first heading, under "", and that under each."""
    parts = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", text, flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2]))
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(section):
    """The names that a section of parameters explains."""
    heads = re.findall(r"^(\S.*?)(?: : .*)?$", section, re.MULTILINE)
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def taken(function):
    return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]


def check_form(text):
    """One line, ended; then the sections."""
    summary, *rest = text.splitlines()
    assert summary.endswith(".") and len(summary) <= 120
    assert not rest or rest[0] == ""
    found = sections(text)
    assert [name for name in SECTIONS if name in found] == list(found)[1:]
    return found


@pytest.mark.parametrize("name", CALLABLES)
def test_functions_and_methods(name):
    function = CALLABLES[name]
    found = check_form(inspect.getdoc(function))
    assert sorted(entries(found.get("Parameters", ""))) == sorted(taken(function))
    returns = inspect.signature(function).return_annotation
    assert ("Returns" in found) == (returns not in (None, "None"))


@pytest.mark.parametrize("name", CLASSES)
def test_classes(name):
    found = check_form(inspect.getdoc(CLASSES[name]))
    assert sorted(entries(found.get("Parameters", ""))) == sorted(taken(CLASSES[name]))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_say_what_they_compute_and_how_well(name):
    found = sections(inspect.getdoc(LOSSES[name]))
    assert ".. math::" in found[""], "the formula stands above the parameters"
    leads = re.findall(r"^(Arrays|Accuracy|Memory|Threads):|\b(Curvatures):", found["Notes"], re.MULTILINE)
    order = [first or second for first, second in leads]
    assert order == [lead for lead in ("Arrays", "Curvatures", "Memory", "Threads", "Accuracy") if lead in order]
    assert {"Arrays", "Curvatures"} <= set(order)


@pytest.mark.parametrize("name", REGISTRY)
def test_registered_losses(name):
    cls = REGISTRY[name]
    found = sections(inspect.getdoc(cls))
    assert r"\partial" in found[""], "the formula of the gradient"
    assert re.search(r"^Accuracy: .+", found["Notes"], re.MULTILINE)
    assert re.search(r"\bNaN\b", found["Notes"]), "what NaN gives"
    arrays = re.search(r"Arrays: (.*?)(?:Curvatures:|\Z)", found["Notes"], re.DOTALL)[1]
    assert [a for a in cls.arrays if f"``{a}``" not in arrays] == []
    curvatures = re.search(r"Curvatures:(.*?)(?:\n\n|\Z)", found["Notes"], re.DOTALL)[1]
    named = {c for c in CURVATURES if re.search(rf"\b{c}\b", curvatures)}
    assert named == set(cls.curvatures if cls.curved else ())
    assert [r for r in cls.reductions if f'"{r}"' not in found["Parameters"]] == []
    for parameter, default in inspect.signature(cls).parameters.items():
        if default.default is None:
            assert re.search(rf"^{parameter} : .*(optional|None)", found["Parameters"], re.MULTILINE), parameter


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_references_can_be_found(name):
    found = sections(inspect.getdoc(PUBLIC[name])).get("References")
    if found is not None:
        assert re.findall(r"^\.\. \[(\d+)\]", found, re.MULTILINE) == [str(k + 1) for k in range(found.count(".. ["))]
        assert re.search(r":doi:`10\.\d{4,}/\S+`", found), "one with a digital object identifier, at least"


def test_functional_documents_its_losses():
    for cls in REGISTRY.values():
        function = getattr(F, cls.function)
        assert inspect.getdoc(function) == inspect.getdoc(cls)
        for method in METHODS:
            assert inspect.getdoc(getattr(type(function), method)), method

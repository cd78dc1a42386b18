"""The docstrings behind the reference: what a call takes, with shapes, and what it raises."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest

import yosort
import yosort.model.outputs
import yosort.ops
from yosort.model.architectures import TASKS
from yosort.tasks import pipeline_class

API = (Path(__file__).resolve().parent.parent / "docs/api.md").read_text("utf-8")
#: Each directive of the page, and its options.
DIRECTIVES = dict(re.findall(r"^::: (\S+)\n((?:    .*\n)*)", API, re.M))
FUNCTIONAL = [name for name in yosort.ops.__all__ if name not in ("get_ops", "hash_signs")]
HEADED = [name for name in yosort.__all__ if name.startswith("YosoFor") or name == "YosoModel"]
OUTPUTS = [name for name in dir(yosort.model.outputs) if name.endswith("Output")]

SHAPE = re.compile(r"\[[\w *,]+\]")
ERRORS = re.compile(r"Raises:\n\s+\w*Error: ")


class Documented(NamedTuple):
    """What stands in the reference: the function behind it, and the class that has it."""

    function: FunctionType
    owner: type | None = None
    is_property: bool = False

    @property
    def doc(self) -> str:
        return self.function.__doc__ or ""


def function_of(member: Any) -> Any:
    """Return the function behind a property or a method of any kind, else the member itself."""
    for name in ("fget", "func", "__func__"):
        member = getattr(member, name, member)
    return inspect.unwrap(member) if callable(member) else member


def shown(option: str, options: str, name: str) -> bool:
    """Whether a directive's options show a member: of the class, or of those it inherits from."""
    said = re.search(rf"^ *{option}: (.*)$", options, re.M)
    if said is None and option == "inherited_members":
        return False
    if said is None or said[1] == "true":
        return not name.startswith("_") or (name == "__call__" and "filters" not in options)
    return name in re.findall(r"\w+", said[1])


def documented() -> Iterator[tuple[str, Documented]]:
    """Yield the functions, methods and properties that the page shows."""
    for directive, options in DIRECTIVES.items():
        found = pkgutil.resolve_name(directive)
        if not inspect.isclass(found):
            yield directive, Documented(function_of(found))
            continue
        for cls in (cls for cls in reversed(found.__mro__) if cls.__module__.startswith("yosort")):
            option = "members" if cls is found else "inherited_members"
            for name, member in vars(cls).items():
                function = function_of(member)
                if inspect.isfunction(function) and shown(option, options, name):
                    is_property = isinstance(member, property)
                    yield f"{directive}.{name}", Documented(function, found, is_property)


DOCUMENTED = dict(documented())


def test_the_page_s_members_are_found() -> None:
    assert len(DOCUMENTED) > 120
    assert "yosort.Tokenizer.decode" in DOCUMENTED
    assert "yosort.YosoForMultipleChoice.__call__" in DOCUMENTED
    assert "yosort.YosoModel.save_pretrained" not in DOCUMENTED
    assert "yosort.model.base.PretrainedModel.__call__" not in DOCUMENTED
    assert "yosort.tasks.fill_mask.FillMaskPipeline.prepare" not in DOCUMENTED


def described(doc: str) -> dict[str, str]:
    """Return what the Args section says of each argument."""
    section = re.search(r"\n( *)Args:\n(.*?)(?=\n\n|\Z)", doc, re.S)
    if section is None:
        return {}
    entries = re.split(rf"^{section[1]}    (\w+): ", section[2], flags=re.M)[1:]
    return dict(zip(entries[::2], entries[1::2], strict=True))


def arrays(function: FunctionType) -> list[str]:
    """Return the names of the arguments that are arrays, by their types."""
    types = function.__annotations__.items()
    return [name for name, type_ in types if "Array" in str(type_) and name != "return"]


@pytest.mark.parametrize("name", [n for n, found in DOCUMENTED.items() if arrays(found.function)])
def test_docstrings_have_the_shape_of_every_array(name: str) -> None:
    found = DOCUMENTED[name]
    said = described(found.doc)
    for argument in arrays(found.function):
        assert re.search(rf"{SHAPE.pattern}|of any shape", said[argument]), argument


@pytest.mark.parametrize("name", OUTPUTS)
def test_docstrings_have_the_shape_of_every_output(name: str) -> None:
    cls = getattr(yosort.model.outputs, name)
    if not dataclasses.is_dataclass(cls):  # the base has no fields
        return
    for field in dataclasses.fields(cls):
        said = re.search(rf"\n        {field.name}: (.*)", cls.__doc__)
        assert said is not None
        assert SHAPE.search(said[1]) or said[1].startswith("a scalar"), field.name


def called(function: FunctionType, owner: type | None) -> Iterator[Any]:
    """Yield what a function calls and which errors it raises, as far as names tell."""
    names = function.__globals__
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if not isinstance(node, (ast.Call, ast.Raise)):
            continue
        what = node.func if isinstance(node, ast.Call) else node.exc
        if isinstance(what, ast.Name):
            yield vars(owner).get("__call__") if what.id == "self" else names.get(what.id)
        elif isinstance(what, ast.Attribute) and isinstance(what.value, ast.Name):
            own = what.value.id in ("self", "cls")
            yield getattr(owner if own else names.get(what.value.id), what.attr, None)


def may_refuse(function: FunctionType, owner: type | None) -> bool:
    """Whether a function makes an error of yosort's, or calls what says or is seen to raise one."""
    for what in called(function, owner):
        inner = function_of(what)
        if not str(getattr(inner, "__module__", "")).startswith("yosort") or inner is function:
            continue
        if inspect.isclass(inner) and issubclass(inner, yosort.YosortError):
            return True
        if ERRORS.search(inner.__doc__ or "") or re.search(
            "raise `?[a-zA-Z]*[eE]rror", inner.__doc__ or ""
        ):
            return True
        if (
            inspect.isfunction(inner)
            and inner.__name__.startswith("_")
            and may_refuse(inner, owner)
        ):
            return True
    return False


# A property takes no argument that it could refuse.
REFUSING = [
    name
    for name, (function, owner, is_property) in DOCUMENTED.items()
    if not is_property and may_refuse(function, owner)
]


def test_what_refuses_is_found() -> None:
    assert len(REFUSING) > 60
    assert "yosort.tokenizer.encodings.BatchEncoding.tokens" in REFUSING  # by a method of its own
    assert "yosort.ModelOutput.keys" not in REFUSING


@pytest.mark.parametrize("name", REFUSING)
def test_docstrings_of_what_refuses_have_its_errors(name: str) -> None:
    assert ERRORS.search(DOCUMENTED[name].doc)


@pytest.mark.parametrize("name", DIRECTIVES)
def test_docstrings_hold_no_tag_that_a_page_would_follow(name: str) -> None:
    members = [found.doc for n, found in DOCUMENTED.items() if n.startswith(f"{name}.")]
    for doc in (pkgutil.resolve_name(name).__doc__, *members):
        assert not re.search("<[a-zA-Z/]", re.sub("`[^`]*`", "", doc))


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_docstrings_of_ops_have_shapes_types_and_errors(name: str) -> None:
    text = getattr(yosort.ops, name).__doc__
    arguments, returns = text.split("Args:")[1].split("Returns:")
    assert len(SHAPE.findall(arguments)) >= 3
    assert re.search(r"(float32|int32) \[", returns)
    assert ERRORS.search(returns)


@pytest.mark.parametrize("name", HEADED)
def test_docstrings_of_models_have_shapes_and_errors(name: str) -> None:
    cls = getattr(yosort, name)
    text = cls.__call__.__doc__
    assert re.search(r"input_ids: integers \[batch, n\]", text)
    assert ERRORS.search(text)
    # Each argument stands in the text.
    for argument in list(inspect.signature(cls.__call__).parameters)[1:]:
        assert f"\n            {argument}: " in text, argument
    if name != "YosoModel":
        assert re.search(
            r"(integers|floats) \[batch", f"{cls.__doc__}{text}".replace("input_ids: integers", "")
        )


@pytest.mark.parametrize("task", TASKS)
def test_docstrings_of_pipelines_have_results_and_errors(task: str) -> None:
    call = pipeline_class(task).__call__
    assert "Returns:\n" in call.__doc__
    assert ERRORS.search(call.__doc__)
    for argument in list(inspect.signature(call).parameters.values())[1:]:
        if argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            assert f"\n            {argument.name}: " in call.__doc__, argument.name


def test_the_docstring_of_the_config_has_every_field() -> None:
    text = yosort.YosoConfig.__doc__ or ""
    for field in dataclasses.fields(yosort.YosoConfig):
        assert re.search(rf"\b{field.name}\b", text), field.name

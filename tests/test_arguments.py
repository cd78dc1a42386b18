"""Every public call, given what it cannot mean: a YosortError, or an answer that means something.

The list of calls is read from the package, and so are their parameters: a new one fails here until
it has a case.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argument_cases import Case, make_cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_values import Stubborn, odd
from properties import examples

import yosort
from yosort import ConfigError, InputError, YosortError
from yosort.arguments import checks_calls, with_names
from yosort.checkpoint import read_state, resolve
from yosort.conversion import convert
from yosort.model.architectures import TASKS
from yosort.tasks import pipeline_class
from yosort.tokenizer import Tokenizer
from yosort.tokenizer.encodings import BatchEncoding

EXAMPLES = int(os.environ.get("YOSORT_ARGUMENT_EXAMPLES", "8"))
CPU_SECONDS = 20
MEMORY = 1 << 30
#: What is only handed out: nobody calls it with arguments of their own.
RESULTS = {"Adoption", "Calibration"}


def public_calls() -> dict[str, Callable[..., Any]]:
    """Return every public function and method that has parameters, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for name in yosort.__all__:
        value = getattr(yosort, name)
        if inspect.isclass(value) and not issubclass(value, Exception):
            found |= _methods(name, value)
        elif inspect.isfunction(value):
            found[name] = value
    found |= {f"ops.{name}": getattr(yosort.ops, name) for name in yosort.ops.__all__}
    found |= {task: pipeline_class(task).__call__ for task in TASKS}
    found |= _methods("Tokenizer", Tokenizer)
    found |= {"convert": convert, "read_state": read_state, "resolve": resolve}
    return {name: call for name, call in found.items() if parameters(call)}


def _methods(name: str, cls: type) -> dict[str, Callable[..., Any]]:
    made = {} if name in RESULTS else {name: cls}
    return {
        **made,
        **{
            f"{name}.{method}": call
            for method, call in inspect.getmembers(cls, callable)
            if method == "__call__" or not method.startswith("_")
        },
    }


def parameters(call: Callable[..., Any]) -> set[str]:
    """Return the names of a call's parameters; not those that are handed on."""
    return {
        name
        for name, p in inspect.signature(call).parameters.items()
        if name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """A case for every public call, in a folder of its own, where odd names may become files."""
    folder = tmp_path_factory.mktemp("arguments")
    before = Path.cwd()
    os.chdir(folder)
    try:
        with limited_memory():
            yield make_cases(folder)
    finally:
        os.chdir(before)


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """Let this process have MEMORY more than it has: a size of 2 ** 31 fails at once, or is small.

    As on a smaller machine, a call may say that it is out of memory, and only that.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fail a call that takes more than CPU_SECONDS of processor time."""

    def ran_out(*_: object) -> None:
        pytest.fail(f"took more than {CPU_SECONDS} s")

    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGVTALRM, ran_out)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize("name", public_calls())
def test_a_case_has_every_parameter_and_its_arguments_are_taken(
    name: str, cases: dict[str, Case]
) -> None:
    if name == "Calibration.plot":
        pytest.importorskip("matplotlib")
    case = cases[name]
    for good in case.good:
        assert good.keys() - set(case.options) == parameters(case.call)
        result = case.call(**good)
        case.check(result, good)


@pytest.mark.parametrize("name", public_calls())
@examples(EXAMPLES, 20)
def test_odd_arguments(name: str, cases: dict[str, Case], examples: int) -> None:
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def holds(data: st.DataObject) -> None:
        check_odd_arguments(cases[name], data)

    holds()


def check_odd_arguments(case: Case, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(case.good), "good")
    changed = data.draw(
        st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3, unique=True)
    )
    arguments = good | {name: data.draw(odd(good[name]), name) for name in changed}
    with bounded():
        try:
            result = case.call(**arguments)
            if isinstance(result, Iterator):
                result = list(itertools.islice(result, 10))
        except YosortError:
            return
    case.check(result, arguments)


# ops: functions of arrays alone, whose signatures are Python's own to check.
@pytest.mark.parametrize("name", [name for name in public_calls() if not name.startswith("ops.")])
def test_what_does_not_fit_is_named(name: str, cases: dict[str, Case]) -> None:
    if name == "Calibration.plot":
        pytest.importorskip("matplotlib")
    call = cases[name].call
    taken = inspect.signature(call).parameters.values()
    if any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in taken):
        with pytest.raises(YosortError, match=r"wanted .*, got (nothing|neither|NoneType)"):
            call()
    if name not in (
        "YosoConfig",
        "YosoConfig.for_model",
    ):  # which carries fields that yosort does not know
        with pytest.raises(YosortError, match=r"^zzzz: no such option; "):
            call(**cases[name].good[0], zzzz=3)
    if not any(p.kind is p.VAR_POSITIONAL for p in taken):
        with pytest.raises(YosortError, match=r"wanted .*, got 50( arguments)?$"):
            call(*[None] * 50)


#: Whose errors name something else, or that take anything: (the call's last name, parameter).
NAMED_OTHERWISE = {
    ("from_pretrained", "token"), ("load", "token"), ("pipeline", "token"), ("convert", "token"),
    ("adopt", "token"),
    ("resolve", "token"),  # handed to huggingface_hub, which is not asked for a folder
    ("to_json_string", "use_diff"),  # says nothing here
    ("to", "dtype"),  # a device or a type, by either name
    ("calibrate", "model"),  # a place that is loaded: its source
    ("from_dict", "values"), ("encoding", "pair"), ("leading", "pair"), ("id_of", "role"),
    ("tokenize", "pair"),  # as the tokenizer's call says it: text_pair
    ("batch_decode", "sequences"),  # as decode says it: token_ids
    ("get_special_tokens_mask", "token_ids_1"),  # the error says what to ask for
}  # fmt: skip


@pytest.mark.parametrize("name", public_calls())
def test_an_error_names_the_argument_that_is_wrong(name: str, cases: dict[str, Case]) -> None:
    if name == "Calibration.plot":
        pytest.importorskip("matplotlib")
    case = cases[name]
    for parameter in case.good[0]:
        if (name.rpartition(".")[2], parameter) not in NAMED_OTHERWISE:
            with pytest.raises(YosortError, match=rf"\b{parameter}\b"):
                case.call(**{**case.good[0], parameter: Stubborn()})


@pytest.mark.parametrize("name", public_calls())
def test_a_flag_that_is_none_is_its_default_or_an_error(name: str, cases: dict[str, Case]) -> None:
    """As transformers' callers hand an option on that nobody set."""
    case, good = cases[name], cases[name].good[0]
    for parameter, about in inspect.signature(case.call).parameters.items():
        if parameter not in good or not isinstance(about.default, bool):
            continue
        others = {key: value for key, value in good.items() if key != parameter}
        refused, result = "", None
        try:
            result = case.call(**others, **{parameter: None})
        except YosortError as error:
            refused = str(error)
        if refused:
            assert re.search(rf"\b{parameter}\b", refused)
            continue
        usual = case.call(**others)
        assert type(result) is type(usual)
        if isinstance(usual, (dict, list, str, BatchEncoding)):
            np.testing.assert_equal(result, usual)


@pytest.mark.parametrize("task", TASKS)
def test_a_pipelines_own_options_are_checked_as_it_is_made(
    task: str, cases: dict[str, Case]
) -> None:
    made: Any = cases[task].call
    options = {field.name for field in dataclasses.fields(made.options)}
    assert {"progress", "on_error", "batch_tokens", "overflow"} <= options
    for option in sorted(options):
        with pytest.raises(ConfigError, match=rf"\b{option}\b"):
            yosort.pipeline(task, made.model, **{option: Stubborn()})


def test_of_a_class_what_is_public_checks_its_calls() -> None:
    @checks_calls(ConfigError)
    class Checked:
        def __call__(self, one: Any) -> Any:
            return one

        def method(self, one: Any) -> Any:
            return one

        @with_names(InputError)
        def other(self, one: Any) -> Any:
            return one

        def _own(self, one: Any) -> Any:
            return one

    made: Any = Checked()
    for call, error in (
        (made, ConfigError), (made.method, ConfigError), (made.other, InputError),
        (made._own, TypeError),
    ):  # fmt: skip
        assert call(3) == call(one=3) == 3
        for arguments, options in (((), {}), ((1, 2), {}), ((1,), {"two": 2})):
            with pytest.raises(error) as caught:
                call(*arguments, **options)
            assert type(caught.value) is error

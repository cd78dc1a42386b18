"""A model's call as type checkers see it: its output, or what `return_dict` and `seed` make of it.

`model(**inputs)` may be any of them to a checker, which then takes the first: the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    cast,
    overload,
)

from yosort.model.outputs import ModelOutput

if TYPE_CHECKING:
    from typing_extensions import Unpack

Arguments = ParamSpec("Arguments")
#: What a class answers with, where it is asked for one draw and no tuple.
Output = TypeVar("Output", bound=ModelOutput)


class Others(TypedDict, total=False):
    """The arguments of all classes that say nothing of an answer's type."""

    input_ids: Any
    attention_mask: Any
    token_type_ids: Any
    position_ids: Any
    head_mask: Any
    inputs_embeds: Any
    labels: Any
    start_positions: Any
    end_positions: Any
    positions: Any
    output_attentions: bool | None
    output_hidden_states: bool | None
    num_hash: int | None


class Answers(Protocol[Arguments, Output]):
    """A call of a model."""

    @overload
    def __call__(self, *arguments: Arguments.args, **options: Arguments.kwargs) -> Output: ...

    @overload
    def __call__(
        self,
        *arrays: Any,
        return_dict: Literal[False],
        seed: int | None = ...,
        **others: Unpack[Others],
    ) -> tuple[Any, ...]: ...

    @overload
    def __call__(
        self,
        *arrays: Any,
        return_dict: Literal[True] | None = ...,
        seed: Sequence[int],
        **others: Unpack[Others],
    ) -> list[Output]: ...

    @overload
    def __call__(
        self,
        *arrays: Any,
        return_dict: bool | None,
        seed: int | Sequence[int] | None = ...,
        **others: Unpack[Others],
    ) -> Any: ...


def typed(call: Callable[Concatenate[Any, Arguments], Output]) -> Answers[Arguments, Output]:
    """Return a method as it is, typed: of its own annotations, those of its plainest answer."""
    return cast("Answers[Arguments, Output]", call)

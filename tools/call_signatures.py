"""An extension of griffe's: the reference shows of a call what it takes.

The options of a pipeline's call stand in the task's `Options`; its signature is made of them when
Python imports it, which the reference never does. A model's has the types of its plainest answer.
"""

from __future__ import annotations

from typing import Any

import griffe

#: Of a model's call: what `yosort.model.typed` spreads over several signatures.
_MODELS = {"return_dict": "bool | None", "seed": "int | Sequence[int] | None"}


class CallSignatures(griffe.Extension):
    """Gives each `__call__` its parameters, of the types that a checker takes for them."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """See griffe."""
        for model in pkg["model.heads"].classes.values():
            if not model.is_alias and "__call__" in model.members:
                for name, annotation in _MODELS.items():
                    model["__call__"].parameters[name].annotation = annotation
        tasks = pkg["tasks"]
        on_error = tasks["options.CallOptions.on_error"]
        for module in tasks.modules.values():
            options = module.members.get("Options")
            if options is None:
                continue
            own = {**options.members, "on_error": on_error}
            types = {**own, **module["Keywords"].members}
            for pipeline in module.classes.values():
                if pipeline.is_alias or "__call__" not in pipeline.members:
                    continue
                call = pipeline["__call__"]
                kinds = griffe.ParameterKind
                call.parameters = griffe.Parameters(
                    *(p for p in call.parameters if p.name != "options"),
                    *(
                        griffe.Parameter(
                            name,
                            annotation=types[name].annotation,
                            kind=kinds.keyword_only,
                            default=each.value.arguments[0],
                        )
                        for name, each in own.items()
                    ),
                    griffe.Parameter(
                        "options", annotation="Unpack[StreamOptions]", kind=kinds.var_keyword
                    ),
                )

"""A pipeline over batches of columns: what engines of batch jobs hand to a worker, and take back.

Ray Data, Spark and Dask bring texts as columns of many rows, start workers, move data and try
again what has failed. `BatchPipeline` is what a worker computes, and knows none of them: arrays in,
arrays out. It is made of names and numbers, so that an engine can send it anywhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from yosort.arguments import check_flag, checks_calls, with_names
from yosort.errors import ConfigError, InputError, show
from yosort.model.architectures import TASKS
from yosort.model.base import PretrainedModel
from yosort.tasks import pipeline
from yosort.tasks.base import Pipeline
from yosort.tasks.feature_extraction import usual_pooling
from yosort.tasks.stream import Failure

#: Keys of a task that its inputs may lack.
_OPTIONAL = {"text_pair"}
#: Columns of answers that are no text, and what they hold in rows that have failed.
_NUMBERS: dict[str, Any] = {
    "score": np.nan, "standard_error": np.nan, "start": -1, "end": -1, "index": -1, "token": -1,
    "truncated": False,
}  # fmt: skip


@checks_calls(InputError)
class BatchPipeline:
    """Answers batches of columns, one row an input; made once in each worker, then called.

    A row's answer is that of `yosort.pipeline`, whatever stands beside it in its batch: on CPUs of
    one kind to the bit. Rows run sorted by length, so a batch of a thousand or more costs what its
    tokens cost. Threads are as many as the engine grants: Ray sets OMP_NUM_THREADS in a worker to
    its `num_cpus`; `num_threads=` and YOSORT_NUM_THREADS come before that.

    Args:
        task: as of `yosort.pipeline`. Vectors are pooled by the mean unless options, or the
            model's files, say otherwise.
        model: a folder or hub id that every worker can read; None for the bundled one.
        column: of the texts; or a column for each of the task's keys, such as
            `{"question": "title", "context": "body"}`; None for columns that have these keys'
            names: `text` (and `text_pair`, where it is there), `question` and `context`, ...
        prefix: what the names of new columns begin with.
        collect_errors: whether a row that fails leaves its message in the column `error`, which is
            "" of all others; else it ends the batch, and the engine decides.
        options: of `yosort.pipeline`, for loading and for calls.

    Raises:
        ConfigError: as `yosort.pipeline`, or a column that the task has no use for.
        CheckpointError: as `yosort.pipeline`.
        DeviceError: as `yosort.pipeline`.
        InputError: as `yosort.pipeline`.
    """

    @with_names(ConfigError)
    def __init__(
        self,
        task: str,
        model: str | os.PathLike[str] | PretrainedModel | None = None,
        column: str | Mapping[str, str] | None = None,
        *,
        prefix: str = "",
        collect_errors: bool = True,
        **options: Any,
    ) -> None:
        if not isinstance(prefix, str):
            raise ConfigError.wanted("prefix", "a text", prefix)
        collects = check_flag("collect_errors", collect_errors, ConfigError)
        if "on_error" in options:
            raise ConfigError("on_error: no such option; collect_errors says it of a batch")
        made = pipeline(task, model, **options)
        self._call: dict[str, Any] = {"on_error": "collect" if collects else "raise"}
        if made.task == "feature-extraction" and options.get("pooling") is None:
            self._call["pooling"] = usual_pooling(made.model)
        self._pipeline = made
        self._prefix, self._collects = prefix, collects
        self._columns = _read_columns(column, TASKS[made.task].keys)
        self._names = _names_of(made, self._call)
        if made.task == "feature-extraction":
            self._call["return_tensors"] = self._names == ["vector"]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """Return a batch's columns, and those of its answers.

        Args:
            batch: arrays by column, all of one length.

        Returns:
            The columns that came, and

            - of vectors: `vector`, float32 [rows, hidden], NaN in rows that have failed;
            - of answers of which a row has one (`top_k=1`): the keys of the task's result, texts,
              float64, int64 or bool; "", NaN, -1 or False in rows that have failed;
            - of all other answers: `result`, JSON as the command line writes it, or "";
            - with `collect_errors`: `error`.

        Raises:
            InputError: a column that is not there, or would be there twice; without
                `collect_errors` what is wrong with a row.
        """
        if not isinstance(batch, Mapping):
            raise InputError.wanted("batch", "a dictionary of arrays, by column", batch)
        added = [*self._names, *(["error"] if self._collects else [])]
        twice = [name for name in added if self._prefix + name in batch]
        if twice:
            raise InputError(
                f"batch: has a column {self._prefix + twice[0]!r} already; prefix= names new ones "
                "otherwise"
            )
        # An iterator: of a list of one some tasks answer as of one.
        results = [self._one(result) for result in self._pipeline(self._rows(batch), **self._call)]
        columns = {name: self._column(name, results) for name in self._names}
        if self._collects:
            errors = [str(r.error) if isinstance(r, Failure) else "" for r in results]
            columns["error"] = np.array(errors, object)
        return {**batch, **{self._prefix + name: values for name, values in columns.items()}}

    def _rows(self, batch: Mapping[str, Any]) -> Any:
        """Return an iterator over the rows: texts, or dictionaries of the task's keys."""
        there = {key: name for key, name in self._columns.items() if name in batch}
        missing = [key for key in self._columns if key not in there and key not in _OPTIONAL]
        if missing:
            wanted = f"a column {self._columns[missing[0]]!r}"
            raise InputError.wanted("batch", wanted, got=show(list(batch)))
        for name in there.values():
            if not isinstance(batch[name], np.ndarray):
                raise InputError.wanted(
                    f"batch[{name!r}]", "an array of NumPy", got=type(batch[name]).__name__
                )
        values = [_values(batch[name]) for name in there.values()]
        if len({*map(len, values)}) > 1:
            raise InputError.wanted("batch", "columns of one length", got=show([*map(len, values)]))
        if list(there) == ["text"]:
            return iter(values[0])
        return (dict(zip(there, row, strict=True)) for row in zip(*values, strict=True))

    def _one(self, result: Any) -> Any:
        """Return a row's result as its columns need it; an error of one that they cannot hold."""
        if isinstance(result, Failure) or self._names == ["result"]:
            return result
        if self._names == ["vector"]:
            if isinstance(result, np.ndarray):
                return result
            error = InputError("wanted a text alone, got one with spans; chunks= parts all texts")
        else:
            answers = result if isinstance(result, list) else [result]
            if len(answers) == 1 and isinstance(answers[0], dict):
                return answers[0]
            error = InputError(f"wanted one answer a row, got {len(answers)}")
        if not self._collects:
            raise error
        return Failure(0, error)

    def _column(self, name: str, results: list[Any]) -> npt.NDArray[Any]:
        failed = [isinstance(result, Failure) for result in results]
        if name == "vector":
            vectors = np.full((len(results), self._pipeline.model.config.hidden_size), np.nan, "f4")
            for row, result in enumerate(results):
                if not failed[row]:
                    vectors[row] = result
            return vectors
        if name == "result":
            lines = [
                "" if bad else json.dumps(result, ensure_ascii=False)
                for bad, result in zip(failed, results, strict=True)
            ]
            return np.array(lines, object)
        missing = _NUMBERS.get(name, "")
        values = [
            missing if bad else result.get(name, missing)
            for bad, result in zip(failed, results, strict=True)
        ]
        return np.array(values, object if isinstance(missing, str) else type(missing))


def _read_columns(column: Any, keys: tuple[str, ...]) -> dict[str, str]:
    """Return the column of each of a task's keys."""
    if column is None:
        return {key: key for key in keys}
    needed = [key for key in keys if key not in _OPTIONAL]
    if isinstance(column, str) and len(needed) == 1:
        return {needed[0]: column}
    if (
        not isinstance(column, Mapping)
        or not {*needed} <= {*column} <= {*keys}
        or not all(isinstance(name, str) for name in column.values())
    ):
        what = f"a dictionary of the columns of {' and '.join(needed)}"
        raise ConfigError.wanted("column", what, column)
    return {key: column[key] for key in keys if key in column}


def _names_of(made: Pipeline, call: Mapping[str, Any]) -> list[str]:
    """Return the columns of a pipeline's answers: always the same, whatever the rows hold."""
    row = TASKS[made.task]
    options = made.read(made.understand(dict(call))[1])
    if row.one_row is None or getattr(options, "chunks", None) is not None:
        return ["result"]
    name, values = row.one_row
    if getattr(options, name) not in (*values, ""):  # "": the best alone
        return ["result"]
    if not row.columns:
        return ["vector"]
    extra = ["standard_error"] if made.draws > 1 else []
    return [*row.columns, *extra, *(["truncated"] if options.overflow == "truncate" else [])]


def _values(column: npt.NDArray[Any]) -> list[Any]:
    """Return what the rows of a column hold; what is an array in a row as a list."""
    return [v.tolist() if isinstance(v, np.ndarray) else v for v in column.tolist()]

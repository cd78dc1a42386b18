"""A case for every public call: how it is called, and what its answer must be."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from adoption import folders
from tasks.models import ENTITIES, make

import yosort
from yosort import YosoConfig, YosortError
from yosort.checkpoint import read_state, resolve
from yosort.conversion import convert
from yosort.model.outputs import ModelOutput
from yosort.tokenizer import Tokenizer

MODELS = [name for name in yosort.__all__ if name == "YosoModel" or name.startswith("YosoFor")]


@dataclass
class Case:
    """One call, and arguments that it takes.

    Attributes:
        call: bound to its object.
        good: one or more ways to call it, each with every parameter.
        check: looks at an answer, given the arguments.
        options: parameters handed on as keywords.
    """

    call: Callable[..., Any]
    good: list[dict[str, Any]]
    check: Callable[[Any, dict[str, Any]], None] = lambda result, arguments: None
    options: tuple[str, ...] = ()


LOADING = {
    "device": "cpu", "dtype": "float32", "attention": None, "num_hash": 3, "seed": 0,
    "padding": "masked", "num_threads": 1, "revision": None, "local_files_only": True,
    "cache_dir": None, "token": None, "allow_random_head": False,
}  # fmt: skip
STREAM = {
    "batch_tokens": 100, "batch_size": 3, "progress": False, "overflow": "truncate",
    "truncation": None, "max_length": None,
}  # fmt: skip


def make_cases(folder: Path) -> dict[str, Case]:
    """Return the cases by the call's name; models are saved in `folder`."""
    return {
        **_models(folder),
        **_pipelines(folder),
        **_configs(folder),
        **_functional(),
        **_tokenizer(folder),
        **_loading(folder),
    }


def _models(folder: Path) -> dict[str, Case]:
    config = YosoConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_hash=4,
        intermediate_size=16, max_position_embeddings=12, type_vocab_size=2, num_labels=3,
        hash_code_len=4, conv_window=3,
    )  # fmt: skip
    ids = np.array([[5, 6, 7, 8], [9, 10, 11, 12]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
    labels = {
        "YosoForMaskedLM": {"labels": ids, "positions": None},
        "YosoForSequenceClassification": {"labels": np.array([0, 2])},
        "YosoForMultipleChoice": {"labels": np.array([0])},
        "YosoForTokenClassification": {"labels": ids % 3},
        "YosoForQuestionAnswering": {
            "start_positions": np.array([0, 1]),
            "end_positions": np.array([3, 2]),
            "positions": None,
        },
    }
    cases = {}
    for name in MODELS:
        cls = getattr(yosort, name)
        model = cls(config, device="cpu", num_threads=1, attention="auto:4")
        axes = 1 if name == "YosoForMultipleChoice" else 0
        common = {
            "input_ids": ids, "attention_mask": mask, "token_type_ids": ids % 2,
            "position_ids": np.array([2, 3, 4, 5]), "head_mask": np.ones((2, 2)),
            "inputs_embeds": None, "output_attentions": True, "output_hidden_states": False,
            "return_dict": True, "seed": 1, "num_hash": 3, **labels.get(name, {}),
        }  # fmt: skip
        embedded = {**common, "input_ids": None, "inputs_embeds": np.ones((2, 4, 16), "f4") / 3}
        good = [common, embedded]
        if "positions" in common:
            none = {k: None for k in common if k in ("labels", "start_positions", "end_positions")}
            good.append({**common, **none, "positions": np.array([[0, 1], [1, 2]])})
        if axes:  # [batch, choices, n]
            text = ("input_ids", "attention_mask", "token_type_ids", "inputs_embeds")
            good = [
                {k: v[None] if k in text and v is not None else v for k, v in g.items()}
                | {"position_ids": None}
                for g in good
            ]
        cases[f"{name}.__call__"] = Case(model, good, check_output)
        built = {k: LOADING[k] for k in ("device", "dtype", "attention", "num_hash")}
        built |= {"config": config, "seed": 0, "padding": "masked", "num_threads": 1}
        cases[name] = Case(cls, [built], check_model)
        saved = folder / name
        model.save_pretrained(saved)
        cases[f"{name}.from_pretrained"] = Case(
            cls.from_pretrained, [{"source": str(saved), **LOADING, "config": None}], check_model
        )
        cases[f"{name}.from_config"] = Case(cls.from_config, [{"config": config}], check_model)
        cases[f"{name}.save_pretrained"] = Case(
            model.save_pretrained, [{"folder": "saved", "max_shard_size": "1MB"}]
        )
        cases[f"{name}.with_attention"] = Case(
            model.with_attention, [{"attention": "sampled"}], check_model
        )
        cases[f"{name}.to"] = Case(model.to, [{"device": "cpu", "dtype": "float32"}])
        cases[f"{name}.train"] = Case(model.train, [{"mode": False}])
        cases[f"{name}.requires_grad_"] = Case(model.requires_grad_, [{"requires_grad": False}])
        cases[f"{name}.num_parameters"] = Case(
            model.num_parameters, [{"only_trainable": False, "exclude_embeddings": True}]
        )
        cases[f"{name}.to_host"] = Case(model.to_host, [{"array": np.ones(3)}])
    return cases


def _pipelines(folder: Path) -> dict[str, Case]:
    labels = {
        "num_labels": 5,
        "id2label": ENTITIES,
        "label2id": {v: k for k, v in ENTITIES.items()},
    }
    kinds: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "fill-mask": (
            "YosoForMaskedLM", {}, {"inputs": "A <mask> barks", "top_k": 2, "targets": ["dog"]},
        ),
        "text-classification": (
            "YosoForSequenceClassification", {"num_labels": 3},
            {
                "inputs": {"text": "a dog", "text_pair": "barks"}, "top_k": 2,
                "function_to_apply": "softmax",
            },
        ),
        "token-classification": (
            "YosoForTokenClassification", labels,
            {
                "inputs": ["a dog barks", "Paris"], "aggregation_strategy": "simple",
                "ignore_labels": ["O"], "stride": 2, "is_split_into_words": False,
                "delimiter": " ",
            },
        ),
        "text-ranking": (
            "YosoForSequenceClassification", {"num_labels": 1},
            {
                "inputs": {"query": "who?", "documents": ["a dog", "Paris"]}, "query": None,
                "documents": None, "top_k": 2, "function_to_apply": "sigmoid", "label": "LABEL_0",
            },
        ),
        "question-answering": (
            "YosoForQuestionAnswering", {},
            {
                "inputs": {"question": "who?", "context": "a dog barks"}, "question": None,
                "context": None, "top_k": 2, "doc_stride": 4, "max_answer_len": 4,
                "max_seq_len": 30, "max_question_len": 10, "handle_impossible_answer": True,
                "align_to_words": True,
            },
        ),
        "multiple-choice": (
            "YosoForMultipleChoice", {},
            {
                "inputs": {"prompt": "a dog", "choices": ["barks", "sings"]}, "prompt": None,
                "choices": None, "top_k": 1,
            },
        ),
        "feature-extraction": (
            "YosoModel", {},
            {
                "inputs": "a dog", "spans": None, "pooling": "mean", "normalize": True,
                "return_tensors": False, "chunks": None,
            },
        ),
    }  # fmt: skip
    cases = {}
    for task, (name, sizes, arguments) in kinds.items():
        path = make(folder / task, name, **sizes)
        call = yosort.pipeline(task, path, device="cpu", num_threads=1)
        good = [{**arguments, **STREAM, "on_error": "raise"}]
        if task == "question-answering":
            del good[0]["max_length"]  # there it is max_seq_len
        if task == "question-answering":
            pair = {"inputs": None, "question": ["who?", "what?"], "context": "a dog barks"}
            good.append({**good[0], **pair})
        if task == "text-ranking":
            pair = {"inputs": None, "query": "who?", "documents": ["a dog", "Paris"]}
            good.append({**good[0], **pair})
        if task == "multiple-choice":
            question = {"inputs": None, "prompt": "a dog", "choices": ["barks", "sings"]}
            good.append({**good[0], **question})
        if task == "feature-extraction":
            parts = {"inputs": ["a dog", "Paris"], "spans": [[(0, 1), (2, 5)], [(0, 5)]]}
            good += [{**good[0], **parts}, {**good[0], "chunks": 1}]
        if task == "token-classification":
            good[0]["overflow"] = "stride"
            words = {"inputs": [["a", "dog"], ["Paris"]], "is_split_into_words": True}
            good.append({**good[0], **words})
        cases[task] = Case(call, good, lambda result, _: check_finite(result), tuple(STREAM))
    masked = yosort.load(folder / "fill-mask", device="cpu", num_threads=1)
    cases["pipeline"] = Case(
        yosort.pipeline,
        [
            {"task": "fill-mask", "model": str(folder / "fill-mask"), "tokenizer": masked.tokenizer,
             "samples": 1, **LOADING},
            {"task": "fill-mask", "model": masked, "tokenizer": None, "samples": 1},
        ],
        options=tuple(LOADING),
    )  # fmt: skip
    cases["calibrate"] = Case(
        yosort.calibrate,
        [
            {
                "model": masked, "inputs": ["a dog barks", "Paris"], "num_hashes": [2],
                "seeds": 1, "within": 0.01, "limit": 2, "batch_tokens": 100,
                "overflow": "truncate",
            }
        ],
        lambda result, _: check_finite([vars(s) for s in result.settings]),
    )  # fmt: skip
    calibration = yosort.calibrate(masked, ["a dog"], num_hashes=[2], seeds=1)
    cases["Calibration.plot"] = Case(calibration.plot, [{"path": "plot.svg"}])
    return cases


def _configs(folder: Path) -> dict[str, Case]:
    config = YosoConfig(num_labels=3, architectures=("YosoModel",), problem_type="regression")
    values = {f.name: getattr(config, f.name) for f in fields(config)}

    def check(result: YosoConfig, _: Any) -> None:
        assert YosoConfig.from_dict(json.loads(result.to_json())) == YosoConfig.from_dict(
            result.to_dict()
        )

    return {
        "YosoConfig": Case(YosoConfig, [values], check),
        "YosoConfig.from_dict": Case(YosoConfig.from_dict, [{"values": config.to_dict()}], check),
        "YosoConfig.from_pretrained": Case(
            YosoConfig.from_pretrained, [{"folder": str(folder / "YosoModel")}], check
        ),
        "YosoConfig.from_json_file": Case(
            YosoConfig.from_json_file,
            [{"json_file": str(folder / "YosoModel" / "config.json")}],
            check,
        ),
        "YosoConfig.for_model": Case(YosoConfig.for_model, [{"model_type": "yoso"}], check),
        "YosoConfig.to_json_string": Case(config.to_json_string, [{"use_diff": True}]),
        "YosoConfig.save": Case(config.save, [{"folder": "."}]),
        "YosoConfig.save_pretrained": Case(config.save_pretrained, [{"folder": "made"}]),
    }


def _functional() -> dict[str, Case]:
    ops = yosort.ops
    rng = np.random.default_rng(0)
    x, value = (rng.standard_normal((2, 3, 5), np.float32) for _ in range(2))
    sizes = {"num_hash": 3, "hash_code_len": 4}
    masks = {"query_mask": np.array([[1, 1, 1], [1, 1, 0]]), "key_mask": np.ones((2, 3), bool)}
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    codes = rng.integers(0, 16, (2, 3, 3))
    hashed = {"x": x, **sizes, "mask": np.ones((2, 3))}

    def check_codes(result: Any, arguments: dict[str, Any]) -> None:
        assert result.shape == (*arguments["x"].shape[:2], arguments["num_hash"])
        assert (
            result.size == 0 or 0 <= result.min() <= result.max() < 1 << arguments["hash_code_len"]
        )

    def check_sums(result: Any, arguments: dict[str, Any]) -> None:
        assert result.shape[0] == len(arguments["value"])
        check_finite(result)

    good = {
        "hash_signs": {**sizes, "dim": 5, "heads": 2, "seed": 0},
        "fast_hash": {**hashed, "signs": ops.hash_signs(**sizes, dim=5, heads=2, seed=0)},
        "gaussian_hash": {**hashed, "projection": rng.standard_normal((2, 5, 12), np.float32)},
        "lsh_cumulation": {
            "query_codes": codes, "key_codes": codes, "value": value, "hash_code_len": 4, **masks,
        },
        "expected_attention": {
            "query": unit, "key": unit, "value": value, "hash_code_len": 4, **masks,
        },
        "get_ops": {"device": "cpu", "dtype": "float32", "num_threads": 1},
    }  # fmt: skip
    checks = {
        "fast_hash": check_codes, "gaussian_hash": check_codes,
        "lsh_cumulation": check_sums, "expected_attention": check_sums,
    }  # fmt: skip
    return {
        f"ops.{name}": Case(getattr(ops, name), [arguments], checks.get(name, lambda r, a: None))
        for name, arguments in good.items()
    }


def _tokenizer(folder: Path) -> dict[str, Case]:
    tokenizer = Tokenizer.from_pretrained(folder / "fill-mask")
    good: dict[str, dict[str, Any]] = {
        "from_pretrained": {
            "source": str(folder / "fill-mask"), "revision": None, "local_files_only": True,
            "cache_dir": None, "token": None, "use_fast": True,
        },
        "__call__": {
            "text": ["a dog", "b"], "text_pair": ["barks", ""], "add_special_tokens": True,
            "padding": "max_length", "truncation": "only_first", "max_length": 16, "stride": 2,
            "is_split_into_words": False, "pad_to_multiple_of": 4, "padding_side": "left",
            "truncation_side": "right", "return_tensors": "np", "return_token_type_ids": True,
            "return_attention_mask": True, "return_overflowing_tokens": True,
            "return_special_tokens_mask": True, "return_offsets_mapping": True,
            "return_length": True, "split_special_tokens": False, "verbose": True,
        },
        "pad": {
            "encoded_inputs": {"input_ids": [[5, 6], [7]]}, "padding": "max_length",
            "max_length": 4, "pad_to_multiple_of": 2, "padding_side": "left",
            "return_attention_mask": True, "return_tensors": "np", "verbose": True,
        },
        "get_special_tokens_mask": {
            "token_ids_0": [0, 5], "token_ids_1": None, "already_has_special_tokens": True,
        },
        "encode": {"text": "a dog", "text_pair": "barks"},
        "tokenize": {"text": "a dog", "pair": "barks", "add_special_tokens": True},
        "encoding": {
            "text": "a dog", "pair": "barks", "add_special_tokens": True, "max_tokens": 8,
            "stride": 2, "strategy": "longest_first",
        },
        "leading": {"text": "a dog", "pair": "b", "max_tokens": 8, "strategy": "only_second"},
        "num_special_tokens_to_add": {"pair": True},
        "save_pretrained": {"folder": "tokenizer"},
        "convert_tokens_to_ids": {"tokens": ["a", "b"]},
        "convert_ids_to_tokens": {"ids": [5, 6], "skip_special_tokens": True},
        "join": {"tokens": ["a", "b"]},
        "convert_tokens_to_string": {"tokens": ["a", "b"]},
        "decode": {
            "token_ids": [5, 6, 7], "skip_special_tokens": True,
            "clean_up_tokenization_spaces": True,
        },
        "batch_decode": {
            "sequences": [[5, 6, 7]], "skip_special_tokens": True,
            "clean_up_tokenization_spaces": True,
        },
        "token_id": {"token": "a"},
        "id_of": {"role": "mask_token"},
    }  # fmt: skip
    cases = {f"Tokenizer.{k}": Case(getattr(tokenizer, k), [v]) for k, v in good.items()}
    made = {"backend": tokenizer.backend, "special_tokens": {"mask_token": "<mask>"}}
    facts = {
        "token_types": True, "model_input_names": ["input_ids"], "padding_side": "right",
        "truncation_side": "left", "model_max_length": 64, "split_special_tokens": False,
        "clean_up_tokenization_spaces": False, "extra_special_tokens": ["a"], "name_or_path": "x",
    }  # fmt: skip
    cases["Tokenizer"] = Case(Tokenizer, [{**made, **facts}])
    return cases


def _loading(folder: Path) -> dict[str, Case]:
    source = str(folder / "YosoModel")
    hub = {k: LOADING[k] for k in ("revision", "local_files_only", "cache_dir", "token")}
    converting = {
        "source": source, "out": "converted", "config": f"{source}/config.json", "dtype": "float16",
        "max_shard_size": 5000, "overwrite": True, "num_attention_heads": 2, "hash_code_len": 4,
        "num_hash": 4, **hub,
    }  # fmt: skip

    def check_converted(result: Path, _: Any) -> None:
        yosort.load(result, device="cpu", num_threads=1)
        shutil.rmtree(result)

    adopting = {
        "source": str(folders.write(folder / "bert")), "out": "adopted", "texts": folders.texts(25),
        "positions": 50, "hash_code_len": 4, "max_tokens": 1000, "encoder_only": False,
        "progress": False, "num_threads": 1, **hub,
    }  # fmt: skip

    @functools.wraps(yosort.adopt)
    def adopt(*arguments: Any, **options: Any) -> yosort.Adoption:
        shutil.rmtree("adopted", ignore_errors=True)  # which the call before may have left
        return yosort.adopt(*arguments, **options)

    def check_adopted(result: yosort.Adoption, _: Any) -> None:
        yosort.load(result.folder, device="cpu", num_threads=1)
        shutil.rmtree(result.folder)

    return {
        "adopt": Case(adopt, [adopting], check_adopted),
        "load": Case(
            yosort.load,
            [{"source": source, **LOADING, "config": None}],
            check_model,
            options=tuple(LOADING),
        ),
        "convert": Case(convert, [converting], check_converted),
        "read_state": Case(read_state, [{"source": source}]),
        "resolve": Case(resolve, [{"source": source, **hub, "weights": False}]),
    }


def check_model(model: Any, _: Any) -> None:
    """Look at what a model is worth: it answers, or says why not."""
    text = [[3, 4, 5, 6]]
    with contextlib.suppress(YosortError):
        check_output(model([text] if isinstance(model, yosort.YosoForMultipleChoice) else text), {})


def check_output(output: Any, arguments: dict[str, Any]) -> None:
    """Look at what a model answered: of the input's size, and finite."""
    for one in output if isinstance(output, list) else [output]:
        named = isinstance(one, ModelOutput)
        arrays = dict(one.items()) if named else dict(enumerate(one))
        loss = arrays.pop("loss" if named else 0, None)
        if loss is not None and np.ndim(loss):  # no loss, the first of a tuple
            arrays[0], loss = loss, None
        assert loss is None or not np.isinf(loss)  # NaN, as torch has it, where no label counts
        check_finite(list(arrays.values()))
        given = [arguments.get(name) for name in ("input_ids", "inputs_embeds")]
        texts = next((np.shape(value)[0] for value in given if value is not None), None)
        for name, array in arrays.items():
            if texts is not None and "logits" in str(name) and arguments.get("positions") is None:
                assert array.shape[0] == texts


def check_finite(result: Any) -> None:
    """Look into an answer for numbers that are none."""
    if isinstance(result, Mapping):
        check_finite(list(result.values()))
    elif isinstance(result, (list, tuple)):
        for part in result:
            check_finite(part)
    elif isinstance(result, np.ndarray) and result.dtype.kind == "f":
        assert np.isfinite(result).all()
    elif isinstance(result, float):
        assert math.isfinite(result)

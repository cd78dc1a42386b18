"""What code written for torch's modules does with a model: what costs nothing works here, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yosort.arguments import check_flag, checks_calls
from yosort.errors import ConfigError, InputError, YosortError
from yosort.ops.choice import check_device, check_dtype

if TYPE_CHECKING:
    from typing_extensions import Self

_WEIGHTS = "a model is immutable; safetensors.numpy.load_file reads what save_pretrained wrote"
_TRAINING = "yosort computes answers only; train with transformers, whose folders load here"
#: Attributes of transformers' models that have no counterpart, and what to do instead.
_INSTEAD = {
    "generate": 'YOSO is an encoder and writes no text; yosort.pipeline("fill-mask") fills masks',
    "forward": "call the model itself",
    "parameters": _WEIGHTS,
    "named_parameters": _WEIGHTS,
    "state_dict": _WEIGHTS,
    "load_state_dict": _WEIGHTS,
    "resize_token_embeddings": _TRAINING,
    "gradient_checkpointing_enable": _TRAINING,
    "zero_grad": _TRAINING,
    "compile": "there is nothing to compile; leave it out",
    "push_to_hub": "save_pretrained writes a folder, huggingface_hub.upload_folder uploads it",
    "yoso": "YosoModel.from_pretrained loads the encoder alone from the same folder",
    "base_model": "YosoModel.from_pretrained loads the encoder alone from the same folder",
    **dict.fromkeys(("get_input_embeddings", "get_output_embeddings", "embeddings"), _WEIGHTS),
    **dict.fromkeys(("classifier", "encoder", "cls", "lm_head", "qa_outputs"), _WEIGHTS),
    **dict.fromkeys(("modules", "named_modules", "children", "buffers", "apply"), _WEIGHTS),
    **dict.fromkeys(("enable_input_require_grads", "gradient_checkpointing_disable"), _TRAINING),
    "register_forward_hook": "output_hidden_states=True returns what each layer answers",
    "share_memory": "weights are mapped from their file, which processes share already",
    "get_memory_footprint": "yosort info says what a model needs",
    "load_adapter": "merge the adapter with PEFT first, save the model, and load that folder",
    "hf_device_map": "model.device says it",
    "num_labels": "model.config.num_labels says it",
    "double": 'float64 is not computed in; dtype="float32" is at load',
    "bfloat16": "there is none yet; float32 computes such checkpoints, too",
    "tie_weights": "weights are tied at load, as config.tie_word_embeddings says",
}


@checks_calls(InputError)
class TorchHabits:
    """Methods of torch's modules that ask for what a model is already, and words for the others."""

    device: Any
    dtype: Any
    #: As after `eval`: there is no dropout here.
    training = False

    def __getattr__(self, name: str) -> Any:
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name in _INSTEAD:
            message += f": {_INSTEAD[name]}"
        raise AttributeError(message)

    def eval(self) -> Self:
        """Return the model, which is always in this state."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Return the model for mode=False.

        Raises:
            InputError: mode=True: there is no training here.
        """
        if check_flag("mode", mode):
            raise InputError.wanted("mode", "False", got="True", hint=_TRAINING)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Return the model for requires_grad=False.

        Raises:
            InputError: requires_grad=True: there are no gradients here.
        """
        if check_flag("requires_grad", requires_grad):
            raise InputError.wanted("requires_grad", "False", got="True", hint=_TRAINING)
        return self

    def to(self, *targets: Any, device: Any = None, dtype: Any = None) -> Self:
        """Return the model, if it is on that device and of that compute type already.

        Args:
            targets: devices or types, as `from_pretrained` takes them.
            device: one more.
            dtype: one more.

        Raises:
            ConfigError: another device or type than the model was loaded with; or neither.
        """
        named = [target for target in (device, dtype) if target is not None]
        for target in (*targets, *named):
            name, wanted = _read_target(target)
            have = str(getattr(self, name))
            if have != wanted and (name, wanted) != ("device", have.partition(":")[0]):
                raise ConfigError(
                    f"{name}: this model was loaded with {name}={have!r}; load it with "
                    f"{name}={wanted!r}"
                )
        return self

    def cpu(self) -> Self:
        """Return the model, if it is on the CPU; see `to`.

        Raises:
            ConfigError: it is not.
        """
        return self.to("cpu")

    def cuda(self, *device: Any) -> Self:
        """Return the model, if it is on a GPU (that one, where it is named); see `to`.

        Raises:
            ConfigError: it is not.
        """
        return self.to(*(device or ("cuda",)))

    def half(self) -> Self:
        """Return the model, if it computes in float16; see `to`.

        Raises:
            ConfigError: it does not.
        """
        return self.to("float16")

    def float(self) -> Self:
        """Return the model, if it computes in float32; see `to`.

        Raises:
            ConfigError: it does not.
        """
        return self.to("float32")


def _read_target(target: Any) -> tuple[str, str]:
    """Return "device" or "dtype", and the name of what is wanted."""
    try:
        device = check_device(target)
        if device != "auto":
            return "device", device
    except YosortError:
        pass
    try:
        return "dtype", check_dtype(target)
    except YosortError:
        raise ConfigError.wanted("to", "a device or a type", target) from None

"""What code written for torch's modules does with a model: what costs nothing works here, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yosort.arguments import check_flag, checks_calls
from yosort.elsewhere import MODELS, TRAINING, Hinted
from yosort.errors import ConfigError, InputError, YosortError
from yosort.ops.choice import CPU_TYPES, GPU_TYPES, check_device, check_dtype

if TYPE_CHECKING:
    from typing_extensions import Self


@checks_calls(InputError)
class TorchHabits(Hinted):
    """Methods of torch's modules that ask for what a model is already, and words for the others."""

    _instead = MODELS
    device: Any
    dtype: Any
    #: As after `eval`: there is no dropout here.
    training = False

    def eval(self) -> Self:
        """Return the model, which is always in this state."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Return the model for mode=False.

        Raises:
            InputError: mode=True: there is no training here.
        """
        if check_flag("mode", mode):
            raise InputError.wanted("mode", "False", got="True", hint=TRAINING)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Return the model for requires_grad=False.

        Raises:
            InputError: requires_grad=True: there are no gradients here.
        """
        if check_flag("requires_grad", requires_grad):
            raise InputError.wanted("requires_grad", "False", got="True", hint=TRAINING)
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
        have = {"device": str(self.device), "dtype": str(self.dtype)}
        wanted = dict(map(_read_target, (*targets, *named)))
        if wanted.get("device") == have["device"].partition(":")[0]:
            del wanted["device"]
        others = {name: value for name, value in wanted.items() if value != have[name]}
        if not others:
            return self
        where = wanted.get("device", have["device"])
        kind, types = ("GPU", GPU_TYPES) if where.startswith("cuda") else ("CPU", CPU_TYPES)
        lacks = ""
        if wanted.get("dtype", types[0]) not in types:
            lacks = f", and a {kind} computes in {' or '.join(types)}"
            others["dtype"] = types[1]  # the one of 16 bits
        had, load = (", ".join(f"{n}={d[n]!r}" for n in others) for d in (have, others))
        raise ConfigError(
            f"{next(iter(others))}: this model was loaded with {had}{lacks}; load it with {load}"
        )

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

    def bfloat16(self) -> Self:
        """Return the model, if it computes in bfloat16; see `to`.

        Raises:
            ConfigError: it does not.
        """
        return self.to("bfloat16")

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

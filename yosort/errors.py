"""Every error that yosort raises on purpose."""


class YosortError(Exception):
    """Base of all of them: `except yosort.YosortError` catches whatever yosort rejects."""


class ConfigError(YosortError):
    """A config.json or a load option that no YOSO model can have."""


class CheckpointError(YosortError):
    """Weights that are missing, damaged, hostile, or of another model."""


class DeviceError(YosortError):
    """A device that was asked for and cannot be used."""


class InputError(YosortError, ValueError):
    """Arguments of a call that the model cannot take: shapes, ranges, types."""


def one_line(error: Exception) -> str:
    """Return an error's message on one line, as a command line prints it."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line).replace(":;", ":")

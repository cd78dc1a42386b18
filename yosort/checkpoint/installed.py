"""Models that installed packages bring along: entry points of the group `yosort.models`.

    [project.entry-points."yosort.models"]
    yoso-minilm = "yoso_minilm"    # the model's name, and the package whose folder is the model's

Nothing of such a package is imported. Looking through the installed packages takes milliseconds,
so it is done only where a name is no folder's.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from yosort.errors import CheckpointError, quote

GROUP = "yosort.models"


class Offer(NamedTuple):
    """A model that a package offers.

    Attributes:
        name: the model's.
        package: the package's name and version, as pip lists it.
        module: whose folder is the model's.
    """

    name: str
    package: str
    module: str


def installed_models() -> list[Offer]:
    """Return what installed packages offer, by name."""
    from importlib.metadata import entry_points

    offers = []
    for point in entry_points(group=GROUP):
        package = "an unnamed package"
        if point.dist is not None:
            package = f"{point.dist.metadata['Name']} {point.dist.version}"
        offers.append(Offer(point.name, package, point.value))
    return sorted(offers)


def find_installed(name: str) -> Path | None:
    """Return the folder of an installed model; None where no package offers the name.

    Raises:
        CheckpointError: two packages offer it, or one whose files are not there.
    """
    offers = [offer for offer in installed_models() if offer.name == name]
    if not offers:
        return None
    if len(offers) > 1:
        packages = " and ".join(offer.package for offer in offers)
        raise CheckpointError.wanted(
            quote(name), "one package that offers it", got=packages, hint="uninstall one of them"
        )
    folder = _folder_of(offers[0].module)
    if folder is None:
        raise CheckpointError(
            f"{quote(name)}: {offers[0].package} offers it, but there is no folder of "
            f"{quote(offers[0].module)}; install it again"
        )
    return folder


def _folder_of(module: str) -> Path | None:
    """Return the folder of a package, without importing it."""
    from importlib.util import find_spec

    top, *below = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    folders = (Path(place, *below) for place in places)
    return next((folder for folder in folders if folder.is_dir()), None)

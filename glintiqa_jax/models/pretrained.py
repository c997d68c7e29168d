"""Where pretrained weights come from: the model that ships, a package, the Hub at pinned revisions, folders, files."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glintiqa_jax.models.files import WeightsError

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
"""The folder of the model that ships."""
FOLDER, WEIGHTS = "model", "model.safetensors"
"""The folder of a finished run that holds its model, and the file of weights in a model's folder."""
_EXTRA = "pip install 'glintiqa-jax[pretrained]'"
_NAMES = ("pretrained", "timm", "package")


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file of weights on the Hugging Face Hub; the revision is a commit, so that it never changes."""

    repository: str
    revision: str
    file: str
    licence: str

    @property
    def terms(self) -> str:
        """Where it is from, and its licence."""
        return f"{self.repository}: {self.licence}"

    def path(self, say: Callable[[str], None]) -> Path:
        """The file in the Hub's cache, downloaded where it is not there yet; ``say`` is told of that."""
        try:
            import huggingface_hub
            import huggingface_hub.errors
        except ImportError as error:
            raise WeightsError(f"timm: needs huggingface_hub: {_EXTRA}") from error

        def download(*, local_files_only: bool) -> Path:
            return Path(
                huggingface_hub.hf_hub_download(
                    self.repository, self.file, revision=self.revision, local_files_only=local_files_only
                )
            )

        try:
            return download(local_files_only=True)
        except huggingface_hub.errors.LocalEntryNotFoundError:
            say(f"fetching {self.repository} ({self.licence}), {self.file} at {self.revision[:7]}")
        try:
            return download(local_files_only=False)
        except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
            raise WeightsError(
                f"timm: {self.repository} is not in the Hub's cache and cannot be fetched "
                f"({str(error).splitlines()[0]})",
                hint="a file fetched elsewhere can be named instead",
            ) from error


@dataclasses.dataclass(frozen=True)
class PackagedFile:
    """A file of weights in an installed package of the extra ``pretrained``."""

    package: str
    pattern: str
    licence: str

    @property
    def terms(self) -> str:
        """Where it is from, and its licence."""
        return f"{self.package}: {self.licence}"

    def path(self, say: Callable[[str], None]) -> Path:
        """The installed file."""
        try:
            folder = importlib.resources.files(self.package)
        except ModuleNotFoundError as error:
            raise WeightsError(f"package: {self.package} is not installed: {_EXTRA}") from error
        return next(Path(str(folder)).rglob(self.pattern))


Origin = HubFile | PackagedFile


def origins(source: str, config: Any) -> list[Origin]:
    """What ``timm`` or ``package`` has for the branches of a ``ModelConfig``.

    Raises:
      WeightsError: it has nothing for them, or has a branch in other sizes.
    """
    branches = [branch for branch in (config.vit, config.cnn) if branch is not None]
    found = [origin for branch in branches if (origin := branch.origin(source, config)) is not None]
    if not found:
        titles = " or ".join(branch.title for branch in branches)
        raise WeightsError(f"{source}: expected weights of the network's {titles}, found none there")
    return found


def model_folder(source: str) -> Path | None:
    """The folder of the whole model that "pretrained", or the path of a model's or a run's folder, stands for."""
    path = SHIPPED if source == "pretrained" else Path(source).expanduser()
    return next((folder for folder in (path, path / FOLDER) if (folder / WEIGHTS).is_file()), None)


def check_weights(source: str, config: Any) -> None:
    """``WeightsError`` where ``find_weights`` would find nothing; nothing is fetched."""
    if source in ("timm", "package"):
        origins(source, config)
    elif model_folder(source) is None:
        _file(source, _NAMES, "weights")


def has_weights(source: str, config: Any) -> bool:
    """Whether ``timm`` or ``package`` has weights for a ``ModelConfig``; nothing is fetched. True for files."""
    try:
        return source not in ("timm", "package") or bool(origins(source, config))
    except WeightsError:
        return False


def licences(source: str, config: Any) -> list[str]:
    """Of what ``find_weights`` finds, a line each; none of a file of one's own, whose licence is not known here."""
    known = source in ("timm", "package") and has_weights(source, config)
    return [origin.terms for origin in origins(source, config)] if known else []


def find_weights(source: str, config: Any, *, say: Callable[[str], None]) -> list[Path]:
    """The files of weights that a source stands for.

    Args:
      source: "pretrained", for the model that ships; "timm", which downloads what is not in the Hub's cache yet;
        "package", for the weights of the extra ``pretrained``; or the path of a model's or a run's folder or of a file.
      config: the ``ModelConfig`` that they are for.
      say: is told what is fetched, and its licence.

    Raises:
      WeightsError: no weights found, in one line.
    """
    if source in ("timm", "package"):
        return [origin.path(say) for origin in origins(source, config)]
    folder = model_folder(source)
    return [folder / WEIGHTS if folder else _file(source, _NAMES, "weights")]


def find_whole(source: str, known: Mapping[str, Origin], name: str, *, say: Callable[[str], None]) -> Path:
    """The file of a whole backbone's weights, called ``name``, that one of its origins or a path stands for."""
    return known[source].path(say) if source in known else _file(source, tuple(known), f"weights of {name}")


def _file(source: str, known: tuple[str, ...], what: str) -> Path:
    path = Path(source).expanduser()
    if not path.is_file():
        named = ", ".join(map(repr, known)) + " or " if known else ""
        raise WeightsError(file=source, expected=f"{named}a file of {what}", found="no such file")
    return path

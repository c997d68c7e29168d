"""What the network is, in Flax NNX: ``create_model("glintiqa_mini")`` makes one, ``load_weights`` fills it."""

from glintiqa_jax.lazily import lazily

__getattr__, __all__ = lazily(
    __name__,
    backbones="BACKBONES",
    config="ModelConfig VARIANTS describe variant_config",
    files="WeightsError load_weights save_weights",
    freezing="freeze split_model",
    glintiqa="GlintIQA create_model",
    weights="export_glintiqa load_backbone load_glintiqa",
)

"""How images are loaded, which changes no batch."""

from __future__ import annotations

import dataclasses

from glintiqa_jax.data.images import BAD_IMAGE_POLICIES
from glintiqa_jax.errors import InputError
from glintiqa_jax.settings import check_choices, setting


@dataclasses.dataclass(frozen=True)
class Loading:
    """How images are loaded."""

    num_workers: int = setting(0, "processes that load images; 0: threads in this one", effect="nothing")
    cache_megabytes: int = setting(
        1500, "keep decoded images in memory when all of them fit into this", effect="nothing"
    )
    on_bad_image: str = setting(
        "fail",
        "an image that is missing, does not decode or is smaller than the crop stops the run or is left out",
        choices=BAD_IMAGE_POLICIES,
    )

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("num_workers", "cache_megabytes"):
            if getattr(self, name) < 0:
                raise InputError(field=name, expected="0 or more", found=getattr(self, name))

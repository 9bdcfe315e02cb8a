"""Define the options that self-supervised losses with a decoder of blocks share."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from attrs.validators import deep_iterable, ge, gt

from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.nn.views import RATE, Views


@frozen(kw_only=True)
class DecodingOptions(Views):
    """Options of a loss that contrasts two views of a network and reconstructs them."""

    weight: float = option(1.0, "λ, the weight of this loss relative to the task loss", check=ge(0))
    temperature: float = option(0.1, "temperature of the softmax over cosine similarities", check=gt(0))
    projection: tuple[int, ...] = option(
        (64, 32),
        "widths of the layers that project a vector for NT-Xent",
        converter=as_tuple,
        check=deep_iterable(ge(1)),
    )
    width: int = option(64, "width of the vector of a token in the decoder", check=ge(1))
    heads: int = option(4, "number of attention heads of the decoder", check=ge(1))
    blocks: int = option(2, "number of blocks of the decoder", check=ge(1))
    feed_forward: int = option(
        128, "width between the two linear layers of a block of the decoder", check=ge(1)
    )
    dropout: float = option(0.0, "dropout rate in the decoder", check=RATE)

    @property
    def decoder(self) -> dict[str, Any]:
        """The arguments of the decoder's blocks."""
        names = ("width", "heads", "blocks", "feed_forward", "dropout")
        return {name: getattr(self, name) for name in names}

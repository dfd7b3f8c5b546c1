"""The rewrites by name. Each is exact in real arithmetic; the functions in `fold` carry them out. No torch."""

from __future__ import annotations

REWRITES: dict[str, str] = {
    "B1": "pixel scaling, mean and std inside the patch embedding",
    "B2": "key bias masked once",
    "B3": "attention scale inside the query weights",
    "B4": "LayerNorm's scale and bias inside the linear layer after it",
    "B5": "LayerScale inside the linear layer before it",
    "B6": "RoPE sine and cosine as constants",
    "B7": "final norm on patch tokens only, its scale and bias inside the head",
    "B8": "value bias inside the attention's projection",
    "H1": "1x1 and 3x3 of a level as one 3x3",
    "H2": "1x1 before the resize instead of after it",
    "H3": "transposed convolution as channels of a 3x3, then pixel shuffle",
    "H4": "levels of one resolution as one convolution",
    "T1": "3x3 after upsampling, computed at patch resolution",
    "T2": "token projection inside the nine maps of T1",
    "T3": "token projection inside the 3x3 after it",
    "T5a": "transposed convolution as a linear map and a pixel shuffle",
    "T5b": "3x3 after a transposed convolution as a 2x2 at patch resolution",
    "T5c": "last block's residual scale and sum moved behind the output layer",
    "T5d": "finest level's residual scale inside the layers around it",
    "BN": "BatchNorm inside the convolution before it",
    "O1": "one-class mask by comparing logits, without a sigmoid",
}

"""The attention of SAM-Med3D's encoder computed plainly: padded, with every padded token's query and key.

What ``semisam.generalists.sam_med3d.attention`` has to agree with, and the time it is compared with.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from semisam.generalists.sam_med3d.attention import Attention


def plain_attention(attention: Attention, tokens: torch.Tensor) -> torch.Tensor:
    """The answer of ``attention`` for tokens (b, d, h, w, channels)."""
    batch, *size, channels = tokens.shape
    window, heads = attention.window, attention.heads
    padding = [part for side in reversed(size) for part in (0, window - side)]
    padded = functional.pad(tokens, (0, 0, *padding))
    count = window**3
    parts = attention.qkv(padded).reshape(batch, count, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = parts.reshape(3, batch * heads, count, -1).unbind(0)
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    index = torch.arange(window)
    tables = [
        table[index[:, None] - index[None] + window - 1]
        for table in (attention.rel_pos_d, attention.rel_pos_h, attention.rel_pos_w)
    ]
    places = query.reshape(-1, window, window, window, query.shape[-1])
    along = torch.einsum("bdhwc,dkc->bdhwk", places, tables[0])
    first = torch.einsum("bdhwc,hkc->bdhwk", places, tables[1])
    second = torch.einsum("bdhwc,wkc->bdhwk", places, tables[2])
    logits = logits.view(-1, *(window,) * 6)
    # The axes are those of (query d, h, w, key x, y, z): the tables' own axes meet them in an unusual order.
    logits = logits + along[:, :, :, :, None, None] + first[:, :, :, None, :, None] + second[:, :, :, None, None]
    answer = logits.view(-1, count, count).softmax(-1) @ value
    answer = answer.view(batch, heads, count, -1).transpose(1, 2).reshape(batch, window, window, window, channels)
    return attention.proj(answer[:, : size[0], : size[1], : size[2]])

"""Attention over the 3D tokens of SAM-Med3D's encoder, without computing the padding of its windows.

The published encoder pads its 8^3 tokens with zeros to windows of 14^3 and attends over all 2744 of them. A padded
token has the key ``b_k``, the value ``b_v`` and the query ``b_q`` (the biases) wherever it lies, so its queries need
not be computed at all, and all padded keys together are one more key, whose weight has a closed form. The result is
the same up to rounding; a block costs a tenth.

Relative positions come in three tables, one an axis, and are added in a way of their own, which published weights were
trained with. For query (d, h, w) and key (x, y, z), with Q the queries and R the tables spread to (query, key):

    along[d, h, w, z] = Q[d, h, w] . R_d[d, z]      the first axis' table, by the key's place on the last axis
    first[d, h, x, z] = Q[d, h, x] . R_h[h, z]      the query is that of token (d, h, x)
    second[d, h, y, z] = Q[d, h, y] . R_w[y, z]     the query is that of token (d, h, y)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Multi-head attention within one window over (b, d, h, w, channels) tokens, with relative positions.

    window  tokens along each side of the window; the tokens given may be fewer, they count as padded at the far ends
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        width = channels // heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * window - 1, width))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window - 1, width))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window - 1, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        # (q / k / v, b, heads, d, h, w, c)
        parts = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(4, 0, 5, 1, 2, 3, 6)
        query, key, value = (part.flatten(2, 4) for part in parts)
        bias, pads = self._positions(parts[0])
        bias = bias.flatten(2, 4).flatten(3, 5)
        if pads is not None:
            # All padded keys as one more: what they weigh together is its bias, and ``b_v`` its value.
            _, pad_key, pad_value = self.qkv.bias.unflatten(0, (3, self.heads, 1, -1))
            pads = pads.flatten(2, 4)[..., None] + query @ pad_key.transpose(-1, -2) * query.shape[-1] ** -0.5
            bias = torch.cat([bias, pads], -1)
            key = torch.cat([key, torch.zeros_like(key[:, :, :1])], 2)
            value = torch.cat([value, pad_value.to(value.dtype).expand(len(value), -1, -1, -1)], 2)
        answer = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        return self.proj(answer.transpose(1, 2).reshape(tokens.shape))

    def _positions(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What relative positions add, for queries (b, heads, d, h, w, c).

        The first result is for the real keys, (b, heads, d, h, w, x, y, z); the second, (b, heads, d, h, w), is the
        logarithm of what all padded keys weigh together, but for their ``Q . b_k``; None in a window without padding.
        """
        window, (depth, height, width) = self.window, query.shape[2:5]
        query = query.float()
        table_d, table_h, table_w = (_spread(table.float(), window) for table in self._tables())
        along = torch.einsum("bndhwc,dzc->bndhwz", query, table_d[:depth])
        # The queries of all tokens on a line along the last axis, pads included.
        pad_query = self.qkv.bias.float().unflatten(0, (3, self.heads, 1, 1, 1, -1))[0]
        line = torch.cat([query, pad_query.expand(len(query), -1, depth, height, window - width, -1)], 4)
        first = torch.einsum("bndhxc,hzc->bndhxz", line, table_h[:height])
        second = torch.einsum("bndhyc,yzc->bndhyz", line, table_w)
        bias = (
            along[:, :, :, :, :, None, None, :width]
            + first[:, :, :, :, None, :depth, None, :width]
            + second[:, :, :, :, None, None, :height, :width]
        )
        if (depth, height, width) == (window, window, window):
            return bias, None
        # Sums over the (x, y) of all pads for each z: x beyond the tokens, or x within them and y beyond. At z beyond
        # them everything is a pad.
        every = torch.logsumexp(second, -2)
        pads = torch.logaddexp(
            torch.logsumexp(first[..., depth:, :], -2) + every,
            torch.logsumexp(first[..., :depth, :], -2) + torch.logsumexp(second[..., height:, :], -2),
        )
        pads = torch.cat([pads[..., :width], (torch.logsumexp(first, -2) + every)[..., width:]], -1)
        return bias, torch.logsumexp(along + pads[:, :, :, :, None], -1)

    def _tables(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.rel_pos_d, self.rel_pos_h, self.rel_pos_w


def _spread(table: torch.Tensor, window: int) -> torch.Tensor:
    """(query, key, c) entries of a table of relative positions (2 * window - 1, c)."""
    index = torch.arange(window, device=table.device)
    return table[index[:, None] - index[None] + window - 1]

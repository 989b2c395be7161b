"""DCAL (Zhu et al. 2022, arXiv:2205.02151): a vision transformer that looks again at its best patches.

    sa      all tokens attend to all: the transformer itself
    glca    global-local cross-attention: the class token, and the R patches that its rollout gives most, attend to all
            tokens in one more block of its own
    pwca    pair-wise cross-attention: in every block softmax(q1 [k1; k2]ᵀ / sqrt(D)) [v1; v2], where image 2 is any
            other of the training set; in training alone, with the weights of `sa`

What the paper leaves open is decided thus. GLCA reads the last block's output before the last norm, and
computes only the rows that were chosen; where the mean of the patches is pooled the others stay in it as they are. The
partner's stream is advanced by plain self-attention, without a gradient. The pair is classified by the head of `sa`. No
official code exists.

Shapes: B batch, M partners, S height and T width of the image, L = 1 + N tokens, N patches, R = 1 + the chosen patches,
C width, K classes, F = C, or 2·C with the local branch.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from attn.apps.reid.patches import Lite0Patches
from attn.apps.reid.variants import PLAIN, DCALConfig
from attn.core.attention.attend import weigh
from attn.core.attention.rollout import rollout_row
from attn.core.attention.watch import Geometry
from attn.core.blocks.vision import Heads, MapBlock, PatchEmbedding, VisionBlock, VisionTransformer, load_timm
from attn.core.errors import UsageError

# Mean and deviation of pixels in 0..1, as the published weights of each body expect them.
PIXELS = {
    "lite0": ((127 / 255,) * 3, (128 / 255,) * 3),
    "patches": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Branch(NamedTuple):
    """What one branch says of images: pooled features, the same after the neck, and logits."""

    features_bc: Float[Tensor, "B C"]
    necked_bc: Float[Tensor, "B C"]
    logits_bk: Float[Tensor, "B K"]


class Branches(NamedTuple):
    """The branches of one pass; None where the model, or the call, has none."""

    sa: Branch
    glca: Branch | None
    pwca: Branch | None


class Head(nn.Module):
    """A classifier behind a batch norm without shift (Luo et al. 2019, arXiv:1903.07071, section 3.5), or alone."""

    def __init__(self, width: int, classes: int, *, neck: bool) -> None:
        super().__init__()
        self.neck = nn.BatchNorm1d(width) if neck else nn.Identity()
        self.classifier = nn.Linear(width, classes, bias=not neck)
        nn.init.normal_(self.classifier.weight, std=0.001)
        if isinstance(self.neck, nn.BatchNorm1d):
            self.neck.bias.requires_grad_(False)
        else:
            nn.init.zeros_(self.classifier.bias)

    def forward(self, features_bc: Float[Tensor, "B C"], *, keep_statistics: bool = True) -> Branch:
        """Features to logits; without `keep_statistics` the neck's running averages stay what they are."""
        if keep_statistics or not isinstance(self.neck, nn.BatchNorm1d):
            necked_bc = self.neck(features_bc)
        else:
            neck = self.neck
            necked_bc = F.batch_norm(features_bc, None, None, neck.weight, neck.bias, training=True, eps=neck.eps)
        return Branch(features_bc, necked_bc, self.classifier(necked_bc))


class DCAL(nn.Module):
    """Pixels (B, 3, S, T) in 0..1 to an embedding (B, F) of length 1."""

    def __init__(self, config: DCALConfig) -> None:
        super().__init__()
        self.config = config
        hybrid = config.body == "lite0"
        patches = (
            Lite0Patches(config.width, config.map_stride) if hybrid else PatchEmbedding(3, config.width, config.patch)
        )
        mixer = None if config.mixer == PLAIN else config.mixer
        self.vit = VisionTransformer(
            patches, config.grid, config.width, config.depth, config.heads, config.drop_path, mixer
        )
        if hybrid:
            self.vit.norm = nn.Identity()  # type: ignore[assignment]  # it is called alone
        neck = config.task == "identify"
        self.head = Head(config.width, config.classes, neck=neck)
        if config.local is not None:
            self.local = VisionBlock(config.width, config.heads, config.drop_path)
            self.local_norm = deepcopy(self.vit.norm)
            self.local_head = Head(config.width, config.classes, neck=neck)
            self.copy_last_block()

    def copy_last_block(self) -> None:
        """The local block begins as the transformer's last, and its norm as the last norm."""
        if self.config.local is not None:
            self.local.load_state_dict(self.vit.blocks[-1].state_dict())
            self.local_norm.load_state_dict(self.vit.norm.state_dict())

    def begin_from_timm(self, state: dict[str, Tensor], grid: tuple[int, int] | None = None) -> None:
        """The weights of a ViT or DeiT of timm; see `attn.core.blocks.vision.load_timm`."""
        load_timm(self.vit, state, grid)
        self.copy_last_block()

    @torch.no_grad()
    def early(self, x_b3st: Float[Tensor, "B 3 S T"]) -> Float[Tensor, "B _ _ _"]:
        """The map of a hybrid's first stages, which no training changes: it is made of a picture once."""
        assert isinstance(self.vit.patches, Lite0Patches)
        return self.vit.patches.early(self._normalised(x_b3st))

    def look(self, x_blc: Float[Tensor, "B L C"], *, keep: bool = True) -> tuple[list[Heads], Float[Tensor, "B L C"]]:
        """What each block reads in a pass of plain self-attention, and the tokens after the last block.

        Without `keep` what they read is let go at once: a block then works in the memory of the one before.
        """
        seen: list[Heads] = []
        for block in self.vit.blocks:
            if isinstance(block, MapBlock):
                x_blc = block(x_blc)
                continue
            heads = block.read(x_blc)  # type: ignore[operator]  # a VisionBlock
            x_blc = block(x_blc, heads)
            if keep:
                seen.append(heads)
        return seen, x_blc

    def look_beside(self, x_blc: Float[Tensor, "B L C"], partners: Sequence[Heads]) -> Float[Tensor, "B L C"]:
        """The tokens after the last block, where each block sees beside its own what it read of the partners."""
        for block, partner in zip(self.vit.blocks, partners, strict=True):
            x_blc = block(x_blc, block.read(x_blc).beside(partner))  # type: ignore[operator]  # a VisionBlock
        return x_blc

    @torch.no_grad()
    def reached(self, seen: Sequence[Heads]) -> Float[Tensor, "B N"]:
        """How much of each patch reaches what is pooled, by the rollout of what `look` saw.

        The weights are made again from queries and keys, layer by layer: the fused kernels of the pass show none.
        """
        pooled_l = self._pooled(seen[0].k_bhmd.shape[2])
        return rollout_row((weigh(heads.q_bhrd, heads.k_bhmd) for heads in reversed(seen)), pooled_l)[:, 1:]

    @torch.no_grad()
    def choose(self, seen: Sequence[Heads]) -> Int[Tensor, "B R"]:
        """The numbers of the class token and of the patches that the rollout gives most, the first patch the best."""
        assert self.config.local is not None
        reached_bn = self.reached(seen)
        best_br = reached_bn.topk(chosen(self.config.local, reached_bn.shape[1])).indices + 1
        return F.pad(best_br, (1, 0))  # the class token is number 0

    def look_again(self, x_blc: Float[Tensor, "B L C"], rows_br: Int[Tensor, "B R"]) -> Float[Tensor, "B R C"]:
        """The chosen tokens after the local block, in which they attend to all tokens, and its norm."""
        x_brc = x_blc.gather(1, rows_br[..., None].expand(-1, -1, x_blc.shape[-1]))
        geometry = Geometry(rows_br[:, None], torch.arange(x_blc.shape[1], device=x_blc.device))
        out: Tensor = self.local_norm(self.local(x_brc, self.local.read(x_blc, x_brc), geometry))
        return out

    def _looked_at(self, x_blc: Tensor, rows_br: Tensor) -> Tensor:
        """What the local branch pools: the chosen tokens, or all of them where their mean is taken."""
        again_brc = self.look_again(x_blc, rows_br)
        if self.config.pool == "class":
            return again_brc
        all_blc: Tensor = self.local_norm(x_blc).scatter(1, rows_br[..., None].expand_as(again_brc), again_brc)
        return all_blc

    def branches(
        self,
        x_b3st: Float[Tensor, "B 3 S T"],
        partners: Float[Tensor, "M 3 S T"] | Int[Tensor, " B"] | None = None,
        *,
        sa_only: bool = False,
    ) -> Branches:
        """All branches of the model, for training, or for prediction without `partners`.

        x_b3st: pictures, or maps that `early` made of them, here and for the partners and in `embed`.
        partners: M images, where M divides B and image i has partner i mod M; or the number of each image's partner in
        this very batch, whose own pass is then not repeated. sa_only: leave the local branch out.
        """
        tokens_blc = self.vit.tokens(self._normalised(x_b3st))
        again = self.config.local is not None and not sa_only
        seen, x_blc = self.look(tokens_blc, keep=again or partners is not None)
        found = Branches(self.head(self._pool(self.vit.norm(x_blc))), None, None)
        if again:
            found = found._replace(glca=self.local_head(self._pool(self._looked_at(x_blc, self.choose(seen)))))
        if partners is not None:
            assert self.training, "pairs are for training"
            y_blc = self.look_beside(tokens_blc, self._read_partners(partners, seen))
            found = found._replace(pwca=self.head(self._pool(self.vit.norm(y_blc)), keep_statistics=False))
        return found

    def embed(self, x_b3st: Float[Tensor, "B 3 S T"], *, sa_only: bool = False) -> Float[Tensor, "B F"]:
        """Vectors of length 1, whose products are cosines: the branches after their necks, each of the same length."""
        found = self.branches(x_b3st, sa_only=sa_only)
        halves = [F.normalize(branch.necked_bc, dim=1) for branch in found if branch is not None]
        return torch.cat(halves, dim=1) / math.sqrt(len(halves))

    def probabilities(self, x_b3st: Float[Tensor, "B 3 S T"], *, sa_only: bool = False) -> Float[Tensor, "B K"]:
        """Class probabilities: those of the branches' classifiers added, and divided by their number."""
        found = self.branches(x_b3st, sa_only=sa_only)
        each = [branch.logits_bk.float().softmax(1) for branch in found if branch is not None]
        p_bk: Tensor = torch.stack(each).mean(0)
        return p_bk

    def forward(self, x_b3st: Float[Tensor, "B 3 S T"]) -> Float[Tensor, "B F"]:
        """See `embed`."""
        return self.embed(x_b3st)

    def rollout(self, x_b3st: Float[Tensor, "B 3 S T"]) -> Float[Tensor, "B N"]:
        """See `reached`; without blocks all patches reach the answer alike.

        Raises UsageError for another mechanism than softmax attention over all tokens.
        """
        if self.config.mixer != PLAIN:
            raise UsageError(f"the mixer {self.config.mixer!r} has no rollout", hint="explain a model without --mixer")
        if not self.config.depth:
            patches = math.prod(self.config.grid)
            return x_b3st.new_full((len(x_b3st), patches), 1 / patches)
        seen, _ = self.look(self.vit.tokens(self._normalised(x_b3st)))
        return self.reached(seen)

    def shares(self, x_b3st: Float[Tensor, "B 3 S T"]) -> Float[Tensor, "B N F"]:
        """What each patch brings to the embedding: the sum over patches is `embed`, exactly, in evaluation.

        A cosine of two images is thus a sum over pairs of patches. Raises UsageError for a model that pools by its
        class token.
        """
        if self.config.pool != "mean":
            raise UsageError("this model's embedding is its class token, and no sum over patches")
        assert not self.training, "the neck is linear in evaluation alone"
        seen, x_blc = self.look(self.vit.tokens(self._normalised(x_b3st)))
        parts = [self._necked(self.head, self.vit.norm(x_blc)[:, 1:])]
        if self.config.local is not None:
            parts.append(self._necked(self.local_head, self._looked_at(x_blc, self.choose(seen))[:, 1:]))
        lengths = [part.sum(1, keepdim=True).norm(dim=2, keepdim=True).clamp(min=1e-12) for part in parts]
        halves = [part / length for part, length in zip(parts, lengths, strict=True)]
        return torch.cat(halves, dim=2) / math.sqrt(len(halves))

    @staticmethod
    def _necked(head: Head, x_bnc: Tensor) -> Tensor:
        """The tokens through the neck, each over their number; it acts on them one by one as on their mean."""
        found: Branch = head(x_bnc.flatten(0, 1))
        return found.necked_bc.reshape(x_bnc.shape) / x_bnc.shape[1]

    def _read_partners(self, partners: Tensor, seen: Sequence[Heads]) -> list[Heads]:
        """What each block reads of the partner of each image, in the partner's own pass. No gradient goes there."""
        batch = len(seen[0].q_bhrd)
        with torch.no_grad():
            if not partners.is_floating_point():
                return [Heads(*(part[partners] for part in heads)) for heads in seen]
            assert batch % len(partners) == 0, "each partner is that of equally many images"
            theirs, _ = self.look(self.vit.tokens(self._normalised(partners)))
            often = batch // len(partners)
            return [Heads(*(part.repeat(often, 1, 1, 1) for part in heads)) for heads in theirs]

    def _normalised(self, x_b3st: Tensor) -> Tensor:
        if x_b3st.shape[1] != 3:  # a map
            return x_b3st
        mean, deviation = (x_b3st.new_tensor(each)[:, None, None] for each in PIXELS[self.config.body])
        x_b3st = (x_b3st - mean) / deviation
        return x_b3st.contiguous(memory_format=torch.channels_last) if self.config.body == "lite0" else x_b3st

    def _pool(self, x_brc: Tensor) -> Tensor:
        return x_brc[:, 0] if self.config.pool == "class" else x_brc[:, 1:].mean(1)

    def _pooled(self, tokens: int) -> Tensor | None:
        """How much of each token is pooled, where it is not the class token alone."""
        if self.config.pool == "class":
            return None
        weights = torch.full((tokens,), 1 / (tokens - 1), device=self.vit.positions.device)
        weights[0] = 0
        return weights


def chosen(share: float, patches: int) -> int:
    """How many of the patches are `share` of them: rounded down, at least 1."""
    return max(1, int(share * patches + 1e-9))  # 0.29 of 100 is 28.999999999999996 in doubles

"""Objectives of pairs beyond CLIP's: soft targets, hard negatives, and the words of a text.

BLIP's contrastive loss (Li et al. 2022, after ALBEF, Li et al. 2021) scores each image against the
texts of the batch and of a queue, as slowly moving copies of the encoders see them; the same copies
say how well the others fit, so that a text that fits by chance is not punished. Its matching loss
asks of a pair whether it belongs together, and takes as wrong pairs those that the contrastive
scores find hardest to tell apart, drawn all at once without a loop over the batch.

On W ranks every loss here is that of the global batch: the mean of the ranks' gradients, which DDP
computes, is the gradient of one process.

Shapes: B rows of this rank, K keys (those of all ranks' batch first), E width of the joint
embedding, T tokens, V words.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

from models.layers.cache import Cache, join
from models.training.objectives import gather_rows, world

IGNORED = -100  # as a label: not to be predicted


def own_columns(count: int, device: torch.device) -> Tensor:
    """(B,) where this rank's `count` rows stand among those of all ranks."""
    return world()[0] * count + torch.arange(count, device=device)


def soft_contrastive(
    rows_BE: Tensor, keys_KE: Tensor, teacher_BE: Tensor, temperature: Tensor, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of scaled cosines to targets that are partly the teacher's: (loss, logits_BK).

    Row i belongs to key i (of this rank's part of the batch). The target is alpha times the softmax
    of the teacher's own scaled cosines, and 1 - alpha at the key that it belongs to. All inputs
    have unit length; keys and teacher carry no gradient.
    """
    own_B1 = own_columns(len(rows_BE), rows_BE.device)[:, None]
    with torch.autocast(rows_BE.device.type, enabled=False):
        logits_BK = rows_BE.float() @ keys_KE.float().T / temperature
        with torch.no_grad():
            soft_BK = (teacher_BE.float() @ keys_KE.float().T / temperature).softmax(dim=1)
            hard_BK = torch.zeros_like(soft_BK).scatter_(1, own_B1, 1.0)
            target_BK = torch.lerp(hard_BK, soft_BK, alpha)
        return F.cross_entropy(logits_BK, target_BK), logits_BK


def hard_negatives(logits_BK: Tensor, own_B: Tensor, floor: float = 1e-4) -> Tensor:
    """For each row a column other than its own, (B,), drawn by softmax(logits) + `floor`.

    From torch's global generator. Raises ValueError where there is no other column.
    """
    if logits_BK.shape[1] < 2:
        raise ValueError("a matching loss needs 2 examples or more to draw negatives from, got 1")
    weights_BK = logits_BK.detach().float().softmax(dim=1) + floor
    return torch.multinomial(weights_BK.scatter(1, own_B[:, None], 0.0), 1)[:, 0]


def draw_negatives(to_text_BA: Tensor, to_image_BA: Tensor, across: bool) -> tuple[Tensor, Tensor]:
    """A hard negative image for each text and text for each image, (B,) twice, by the logits of
    this rank's images to all ranks' texts and texts to images.

    Numbers count over all ranks where it is `across` them, else over this rank's examples.
    """
    own_B = own_columns(len(to_text_BA), to_text_BA.device)
    if not across:
        to_text_BA, to_image_BA = to_text_BA[:, own_B], to_image_BA[:, own_B]
        own_B = torch.arange(len(own_B), device=own_B.device)
    return hard_negatives(to_image_BA, own_B), hard_negatives(to_text_BA, own_B)


def matching_pairs(
    look: Callable[[Tensor], Cache],
    states_BSC: Tensor,
    images: Cache,
    tokens_BL: Tensor,
    scores: tuple[Tensor, Tensor],
    gather: bool,
) -> tuple[Cache, Tensor]:
    """3B images and texts: the B that belong together, each text with a wrong image, each image
    with a wrong text.

    Args:
        look: what a text transformer keeps of image tokens.
        images: that of `states_BSC`.
        scores: by which wrong ones are drawn, as `draw_negatives` takes them.
        gather: whether wrong ones come from all ranks.
    """
    across = gather and world()[1] > 1
    image_B, text_B = draw_negatives(*scores, across)
    if across:
        wrong = look(gather_rows(states_BSC)[image_B])
        wrong_BL = gather_rows(tokens_BL)[text_B]
    else:
        wrong, wrong_BL = images.sources(image_B), tokens_BL[text_B]
    return join([images, wrong, images]), torch.cat([tokens_BL, tokens_BL, wrong_BL])


def matching(logits_N2: Tensor) -> Tensor:
    """Cross-entropy of pairs that do not (0) or do (1) belong together: the first third does."""
    labels_N = torch.zeros(len(logits_N2), dtype=torch.int64, device=logits_N2.device)
    labels_N[: len(logits_N2) // 3] = 1
    return F.cross_entropy(logits_N2.float(), labels_N)


def word_losses(logits_BTV: Tensor, labels_BT: Tensor, smoothing: float) -> Tensor:
    """(B, 2): each row's summed cross-entropy, and how many of its labels are not IGNORED.

    With label smoothing in [0, 1): each label is a mixture with the uniform distribution.
    """
    loss_N = F.cross_entropy(
        logits_BTV.flatten(0, 1).float(),
        labels_BT.flatten(),
        ignore_index=IGNORED,
        reduction="none",
        label_smoothing=smoothing,
    )
    loss_BT = loss_N.view(labels_BT.shape)
    count_B = (labels_BT != IGNORED).sum(dim=1)
    return torch.stack([loss_BT.sum(dim=1), count_B.to(loss_BT.dtype)], dim=1)


def word_mean(losses_B2: Tensor) -> Tensor:
    """The mean over the words of all ranks, of what `word_losses` gave for this rank's rows."""
    count = losses_B2[:, 1].detach().sum()
    ranks = world()[1]
    if ranks > 1:
        dist.all_reduce(count)
    return losses_B2[:, 0].sum() * ranks / count.clamp(min=1.0)

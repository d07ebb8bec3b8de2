"""Masked region modelling: what is to be predicted of hidden regions.

M hidden regions, F features, K classes of the detector.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def region_feature_loss(predicted: Float[Tensor, "M F"], features: Float[Tensor, "M F"]) -> Float[Tensor, ""]:
    """Masked region feature regression (UNITER's MRFR): mean squared error."""
    return F.mse_loss(predicted.float(), features.float())


def smooth_feature_losses(
    predicted: Float[Tensor, "M F"], features: Float[Tensor, "M F"]
) -> Float[Tensor, " M"]:
    """Masked region feature regression of LXMERT's code: Smooth L1 of each hidden region, mean over the features."""
    return F.smooth_l1_loss(predicted.float(), features, reduction="none").mean(1)


def confident_class_losses(
    logits: Float[Tensor, "M _"], probabilities: Float[Tensor, "M K"]
) -> Float[Tensor, " M"]:
    """Detected-label classification (LXMERT): cross-entropy with the detector's best class, weighted by its confidence, of each hidden
    region. Background, which is class 0, has no logit."""
    confidence, label = probabilities[:, 1:].max(1)
    return confidence * F.cross_entropy(logits.float(), label, reduction="none")


def region_class_loss(logits: Float[Tensor, "M K"], probabilities: Float[Tensor, "M K"]) -> Float[Tensor, ""]:
    """Masked region classification (UNITER's MRC): cross-entropy with the detector's best class other than background,
    which is class 0."""
    return F.cross_entropy(logits.float(), probabilities[:, 1:].argmax(1) + 1)


def region_distribution_loss(
    logits: Float[Tensor, "M K"], probabilities: Float[Tensor, "M K"]
) -> Float[Tensor, ""]:
    """Masked region classification with soft targets (ViLBERT; UNITER's MRC-kl): KL divergence from the detector's class
    distribution, summed over classes, mean over regions; 0, with a gradient of 0, where there are none."""
    if not len(logits):
        return logits.sum() * 0
    return F.kl_div(logits.float().log_softmax(1), probabilities.float(), reduction="batchmean")

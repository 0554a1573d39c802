"""What a trained model is worth: its likelihood, its ELBO, its codes, its place in the Fisher–Shannon plane.

Nothing here knows an objective, so no penalty can enter a likelihood. Every function leaves the model's
mode, its gradients and the random state as it found them, and depends on its `seed` alone.
"""

from infoplane_torch.code_accuracy import Accuracy, code_accuracy
from infoplane_torch.code_information import (
    AggregatedInformation,
    ConditionalEntropies,
    aggregated_posterior_information,
    conditional_entropies,
    variational_information,
)
from infoplane_torch.image_batches import mean_over_images
from infoplane_torch.likelihood_estimation import (
    EvidenceLowerBound,
    ImportanceSampling,
    NegativeLogLikelihood,
    elbo,
    log_likelihood,
    negative_log_likelihood,
)
from infoplane_torch.model_plane import active_units, plane_point

__all__ = [
    "log_likelihood", "negative_log_likelihood", "elbo",
    "ImportanceSampling", "NegativeLogLikelihood", "EvidenceLowerBound",
    "plane_point", "active_units",
    "aggregated_posterior_information", "variational_information", "conditional_entropies",
    "AggregatedInformation", "ConditionalEntropies",
    "code_accuracy", "Accuracy",
    "mean_over_images",
]  # fmt: skip

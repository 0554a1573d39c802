"""How well F is met on the validation images: by the multiplier of eq. (6), and by the penalty of eq. (8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.paper.study import Study, System
from infoplane_torch.penalties import Form
from infoplane_torch.presets import ModelConfig, fae

_FISHER = (1.0, 5.0, 20.0, 50.0)
_FORMS: tuple[tuple[Form, float], ...] = (("lagrangian", 10.0), ("abs", 1.0), ("abs", 10.0))
_LAST = 0.2  # share of the epochs whose mean is taken: J goes up and down from one to the next


def constraint(study: Study) -> str:
    """Train with each F and each form, and compare mean J with F."""
    rows = []
    for fisher in _FISHER:
        for form, weight in _FORMS:

            def configure(
                weight: float, *, fisher: float = fisher, form: Form = form, **options: Any
            ) -> ModelConfig:
                return fae(fisher, weight, form=form, **options)

            system = System(f"FAE(F={fisher:g}, {form})", None, configure)
            run = study.trained(study.config(system, weight, study.protocol.seeds[0]))
            mean_j = np.array(run.history.column("valid_fisher_trace_mean"))
            last = mean_j[-max(2, round(_LAST * len(mean_j))) :]
            elbo = max(run.history.column("valid_elbo"))
            rows.append(
                f"| {fisher:g} | {form} | {weight:g} | {last.mean():.3f} "
                f"| {100 * (last.mean() / fisher - 1):+.2f} % "
                f"| {100 * np.abs(last / fisher - 1).max():.2f} % | {-elbo:.2f} | {len(mean_j)} |"
            )
    head = (
        "| F | form | λ or ρ | mean J, last fifth of epochs | off F | at worst | best −ELBO | epochs |",
        "|---|---|---|---|---|---|---|---|",
    )
    text = "\n".join((*head, *rows)) + "\n"
    study.write("constraint.md", text)
    return text

"""Laws of entropy and Fisher information, as residuals that theory says are not negative, or zero."""

from infoplane.inequalities.heat_flow import costa, de_bruijn
from infoplane.inequalities.parts import (
    chain_rule,
    information_chain_rule,
    nonnegative_information,
    projection,
    superadditivity,
)
from infoplane.inequalities.single import (
    cramer_rao,
    logarithmic_sobolev,
    maximum_entropy,
    stam,
    stam_matrix,
)
from infoplane.inequalities.sums import blachman_stam, data_processing, entropy_power_inequality

__all__ = [
    "stam", "stam_matrix", "cramer_rao", "maximum_entropy", "logarithmic_sobolev",
    "entropy_power_inequality", "blachman_stam", "data_processing",
    "de_bruijn", "costa",
    "nonnegative_information", "superadditivity", "projection", "chain_rule", "information_chain_rule",
]  # fmt: skip

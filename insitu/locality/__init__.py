"""Field models on a grid that ranks share: how far they see, and their values on a rank's block."""

from insitu.locality.field_model import FieldModel
from insitu.locality.influence import Influence, check_influence, influence_of

__all__ = ["FieldModel", "Influence", "check_influence", "influence_of"]

"""The plugin of the toy family: what its user would import."""

from skindiff.generators.families import register_family
from tests.toy_family import TOY

register_family(TOY)

"""How near generated images come to real ones, in the features of a network."""

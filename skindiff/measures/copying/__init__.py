"""Near copies of training images among synthetic ones."""

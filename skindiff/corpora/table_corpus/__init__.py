"""The table corpus: any table of images and the folder beside it, as they are."""

"""Generators: loading pipelines, learned tokens, adapter folders."""

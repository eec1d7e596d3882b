"""What draws images: loading pipelines, learned tokens, adapter folders."""

"""Where images come from: one file per corpus, the schema, splits and the audit."""

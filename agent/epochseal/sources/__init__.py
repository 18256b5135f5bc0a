"""Where entries come from: one file a source."""

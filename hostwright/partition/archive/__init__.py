"""Child tables out of the way, and back: as a file, or on another server. Nothing is dropped before it was compared."""

"""Images made small once, so that every epoch decodes a third of the pixels."""

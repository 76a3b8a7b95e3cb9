"""Types and codecs of the V2 inference protocol."""

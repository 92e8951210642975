"""The fields, decoders and transforms that come with ffcv, each a plugin like any other."""

"""A JPEG decoder that decodes what is kept and nothing else (ITU-T T.81; JFIF)."""

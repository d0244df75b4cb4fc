"""Every text family of transformers, made tiny: whether all of its neurons are found."""

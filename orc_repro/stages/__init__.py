"""The pipeline's stages, one module and one command each."""

"""Methods whose teachers are trained beforehand and never change."""

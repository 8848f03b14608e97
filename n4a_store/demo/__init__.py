"""The demonstration: real spectra, real pipelines, and a look at what the store did with them."""

"""L4: clusters, optimizers, flattening."""

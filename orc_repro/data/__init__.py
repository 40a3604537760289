"""Images on their way to training: a source, a prepared set on disk, batches on the device."""

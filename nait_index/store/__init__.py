"""What lies on disk: the manifest, the table of samples, the bases, the stored capabilities, the lock."""

"""What an index is on disk or in an object store: manifest, tables, fitted parts, locks and hashes."""

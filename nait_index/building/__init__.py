"""From corpus files to a finished index: take rows in, encode them shard by shard, commit, resume."""

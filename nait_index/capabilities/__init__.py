"""From examples of a target skill to a capability, and the capabilities that an index stores."""

"""Selected rows → what a trainer reads: converted rows, written as the suffix says, and the trainer's configuration."""

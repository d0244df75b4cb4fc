"""Quality: numbers for rows that need no target. One file per paper, and a journal that survives interruptions."""

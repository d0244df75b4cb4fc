"""What people run today, written as they write it, to be measured beside this project."""

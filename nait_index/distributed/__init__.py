"""Work shared among processes: builds on the devices of this machine or on Ray, and searches by the workers of Ray."""

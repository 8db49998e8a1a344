"""The data check: what is in a copy of a data set, what is wrong with it, and whether training can start."""

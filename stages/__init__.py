"""The stages of the graph, each a program: `python -m stages.<name>`."""

import os

# OpenMP's threads wait for each other by spinning, which on cores shared with other programs can cost 20 times the work
# itself. With few turns they go to sleep soon. It has to be set before torch is imported. Training the sample's encoder
# on two cores: as fast as before when nothing else runs, 5 minutes in place of 80 beside two other programs.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

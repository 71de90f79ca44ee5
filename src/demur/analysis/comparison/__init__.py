"""Several runs on the same images, side by side: phases, classes, curves, and whether hardening helped."""

"""What a plan will cost, from a measured probe of its model and its images."""

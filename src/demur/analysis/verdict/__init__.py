"""The final verdict: what is guaranteed, which checks and acceptance rules passed."""

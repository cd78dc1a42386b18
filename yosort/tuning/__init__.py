"""What runs a model to decide how to run it: calibration, costs, the choice of integers."""

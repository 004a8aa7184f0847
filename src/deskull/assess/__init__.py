"""How good is a cohort: reports, drift from the training population, the viewer."""
